"""A workspace has one file to edit; whoever edits what judges it is told so."""

import json
import subprocess
import sys

import pytest

from kernels import catalog
from services.kernel_lab import fixed, opening
from services.kernel_lab.desk import Desk
from services.kernel_lab.fixed import fixed_files
from services.kernel_lab.subject import find
from shared.files import sha256_file
from shared.kernel_lab.job import Init
from shared.stages.executors import NativeExecutor


@pytest.fixture
def desk(home):
    return Desk("0" * 16, NativeExecutor())


@pytest.fixture
def workspace(desk, tmp_path):
    folder = tmp_path / "workspace"
    opening.answer(Init(op="rmsnorm", workspace=folder), desk)
    return folder


def test_it_starts_from_the_reference_and_holds_two_files(workspace, desk):
    assert {path.name for path in workspace.iterdir()} == {"kernel.py", "workspace.json"}
    assert (workspace / "kernel.py").read_text() == catalog.load_source("rmsnorm", "torch_reference.py")
    assert find(str(workspace), desk.ledger).op == "rmsnorm"


def test_editing_the_kernel_makes_another_candidate(workspace, desk):
    before = find(str(workspace), desk.ledger)
    (workspace / "kernel.py").write_text("def rmsnorm(x):\n    return x\n")
    assert find(str(workspace), desk.ledger).sha256 != before.sha256


def test_an_edited_record_is_noticed_though_its_hashes_fit_the_edited_files(workspace, desk):
    record = json.loads((workspace / "workspace.json").read_text())
    (workspace / "workspace.json").write_text(json.dumps({**record, "op": "layernorm"}))
    with pytest.raises(ValueError, match="is not what"):
        find(str(workspace), desk.ledger)


def test_another_workspace_is_not_overwritten_and_a_refresh_keeps_the_kernel(workspace, desk):
    (workspace / "kernel.py").write_text("# mine\n")
    with pytest.raises(ValueError, match="--refresh"):
        opening.answer(Init(op="rmsnorm", workspace=workspace), desk)
    opening.answer(Init(op="rmsnorm", workspace=workspace, refresh=True), desk)
    assert (workspace / "kernel.py").read_text() == "# mine\n"


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.write_text(record.read_text().replace('"function"', '"entry"')),
        lambda record: record.write_text('{"op": "rmsnorm", "fixed"'),
        lambda record: record.write_text("[]"),
    ],
    ids=["of another version", "torn", "another thing"],
)
def test_a_record_that_cannot_be_read_is_one_line_with_the_command_that_makes_it_again(damage, workspace, desk):
    (workspace / "kernel.py").write_text("# mine\n")
    damage(workspace / "workspace.json")
    with pytest.raises(ValueError, match=r"workspace\.json") as found:
        find(str(workspace), desk.ledger)
    assert f"autoresearch lab init rmsnorm --workspace {workspace} --refresh" in str(found.value).replace(
        "OP", "rmsnorm"
    )
    assert len(str(found.value).splitlines()) == 1
    said = opening.answer(Init(op="rmsnorm", workspace=workspace, refresh=True), desk)
    assert "keeps" in said.headline
    assert (workspace / "kernel.py").read_text() == "# mine\n"
    assert find(str(workspace), desk.ledger).op == "rmsnorm"


def test_an_update_of_what_is_fixed_asks_for_a_refresh_and_a_refresh_is_enough(workspace, desk, monkeypatch):
    """As after `git pull`: the harness has another hash than when the workspace was made."""
    monkeypatch.setattr(fixed, "sha256_file", lambda path: sha256_file(path)[::-1])
    with pytest.raises(ValueError, match=f"an update changed it, autoresearch lab init rmsnorm.*{workspace} --refresh"):
        find(str(workspace), desk.ledger)
    opening.answer(Init(op="rmsnorm", workspace=workspace, refresh=True), desk)
    assert find(str(workspace), desk.ledger).op == "rmsnorm"


def test_a_folder_with_something_else_in_it_is_left_alone(desk, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty"):
        opening.answer(Init(op="rmsnorm", workspace=tmp_path), desk)


def test_a_kernel_that_is_a_table_of_answers_is_refused_by_its_size(workspace, desk):
    (workspace / "kernel.py").write_text(f"TABLE = '{'0' * 70_000}'\n")
    with pytest.raises(ValueError, match="64 KiB"):
        find(str(workspace), desk.ledger)


EDIT = """
import sys
from pathlib import Path
from services.kernel_lab import fixed, opening
from services.kernel_lab.desk import Desk
from services.kernel_lab.fixed import fixed_files
from services.kernel_lab.subject import find
from shared.kernel_lab.job import Init
from shared.settings import CHECKOUT
from shared.stages.executors import NativeExecutor
desk, folder = Desk("0" * 16, NativeExecutor()), Path(sys.argv[1])
assert str(CHECKOUT) == sys.argv[2]
opening.answer(Init(op="rmsnorm", workspace=folder), desk)
definition = CHECKOUT / "kernels/rmsnorm/definition.py"
definition.write_text(definition.read_text().replace("family=", 'tolerance={"times_plain": 1e9}, family='))
try:
    find(str(folder), desk.ledger)
except ValueError as error:
    print(error)
"""


def test_an_edited_tolerance_is_one_clear_line(home, tmp_path):
    """In a copy of the tree: the definition is part of what judges."""
    import shutil

    from shared.settings import CHECKOUT

    tree = tmp_path / "tree"
    for room in ("shared", "services", "kernels"):
        shutil.copytree(CHECKOUT / room, tree / room, ignore=shutil.ignore_patterns("__pycache__"))
    argv = [sys.executable, "-c", EDIT, str(tmp_path / "workspace"), str(tree)]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=True, env={"ARE_HOME": str(home)})
    assert done.stdout.startswith("kernels/rmsnorm/definition.py is not what it was")
    assert "git checkout" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_what_is_fixed_holds_everything_that_reference_and_kernels_import():
    assert "kernels/fused_mlp/product.py" in fixed_files("fused_mlp"), "two of its kernels are made of it"
    assert "kernels/rmsnorm/torch_reference.py" in fixed_files("residual_rmsnorm"), "its reference calls it"
    assert "kernels/fused_mlp/triton_saved.py" not in fixed_files("fused_mlp"), "a kernel may be edited"


HELPER = "from kernels.rmsnorm import torch_reference\nimport kernels.inputs\n"


def test_what_a_kernel_takes_from_kernels_is_part_of_what_evidence_is_of(workspace, desk, monkeypatch):
    (workspace / "kernel.py").write_text(HELPER)
    found = fixed.imported_files(HELPER.encode())
    assert {"kernels/rmsnorm/torch_reference.py", "kernels/inputs.py"} <= found.keys()
    before = find(str(workspace), desk.ledger)
    monkeypatch.setattr(fixed, "sha256_bytes", lambda content: "0" * 64)
    after = find(str(workspace), desk.ledger)
    assert (before.sha256, before.fixed_sha256) == (after.sha256, before.fixed_sha256)
    assert after.fixed_sha256 != before.fixed_sha256


def test_a_file_that_an_adopted_kernel_brought_with_it_does_not_spoil_its_workspace(workspace, desk, monkeypatch):
    monkeypatch.setattr(
        "services.kernel_lab.fixed.fixed_files", lambda op: {**fixed_files(op), "kernels/triton_product.py": "1" * 64}
    )
    assert find(str(workspace), desk.ledger).op == "rmsnorm"
