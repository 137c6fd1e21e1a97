"""Which kernels come with this checkout: what is not on the list is charged to every recipe."""

import shutil
import subprocess

import pytest

from shared.contracts import Choice
from shared.research.idea import propose
from shared.runs import shipped
from shared.settings import CHECKOUT
from tests.shared.tracking.finished_runs import make_job, make_result


def test_the_list_names_every_kernel_that_git_knows_as_it_is_now():
    try:
        argv = ["git", "-C", str(CHECKOUT), "ls-files", "kernels/*.py"]
        known = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git, or no checkout of it")
    lines = shipped.list_kernels().splitlines()
    now = {line for line in lines if f"kernels/{line.split()[1]}" in known}
    listed = set(shipped.KERNEL_LIST.read_text().splitlines())
    assert now == listed, "read what is new or changed in kernels/, then: make kernel-list"


def test_a_kernel_that_was_added_or_edited_is_not_on_the_list(tmp_path, monkeypatch):
    copied = tmp_path / "kernels"
    shutil.copytree(shipped.KERNELS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(shipped, "KERNELS", copied)
    before = shipped.other_kernels()
    new, edited = copied / "rmsnorm" / "torch_new.py", copied / "rmsnorm" / "torch_reference.py"
    new.write_text("NOTES = 'weights'\n")
    edited.write_text(edited.read_text() + "# weights\n")
    assert set(shipped.other_kernels()) - set(before) == {new, edited}


@pytest.mark.parametrize(
    ("kernels", "is_ours"),
    [
        ({}, True),
        ({"fused_mlp": "reference"}, True),
        ({"fused_mlp": "triton_saved"}, True),
        ({"fused_mlp": "torch_unproved"}, False),
        ({"fused_mlp": "triton_saved", "rmsnorm": "torch_unproved"}, False),
    ],
    ids=["none", "the recipe's own", "shipped", "unproved", "one of two"],
)
def test_a_shipped_recipe_is_one_with_shipped_kernels_alone(kernels, is_ours):
    (sha, *_) = sorted(shipped.shipped_recipes())
    assert shipped.is_shipped(shipped.Trained(sha, kernels)) is is_ours
    assert shipped.is_shipped(make_job().model_copy(update={"recipe_sha": sha, "kernels": kernels})) is is_ours
    used = ", ".join(f"{op} {kernel}" for op, kernel in kernels.items()) or "references"
    noted = (Choice(what="kernels", chosen=used, reason="asked for"),)
    assert shipped.is_shipped(make_result().model_copy(update={"recipe_sha": sha, "choices": noted})) is is_ours
    assert not shipped.is_shipped(shipped.Trained("e" * 64, kernels))


def test_an_edited_kernel_is_shipped_no_more(tmp_path, monkeypatch):
    copied = tmp_path / "kernels"
    shutil.copytree(shipped.KERNELS, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(shipped, "KERNELS", copied)
    assert shipped.is_shipped_kernel("fused_mlp", "triton_saved")
    file = copied / "fused_mlp" / "triton_saved.py"
    file.write_text(file.read_text() + "# weights\n")
    assert not shipped.is_shipped_kernel("fused_mlp", "triton_saved")


def test_an_idea_that_asks_for_what_no_run_can_have_is_not_shipped():
    source = shipped.default_recipe("torch").read_bytes()
    assert shipped.is_shipped(propose(source))
    assert shipped.is_shipped(propose(source, settings={"kernels": "fused_mlp=triton_saved"}))
    assert not shipped.is_shipped(propose(source, settings={"kernels": "fused_mlp=torch_unproved"}))
    assert not shipped.is_shipped(propose(source, settings={"kernels": "no kernel"}))
