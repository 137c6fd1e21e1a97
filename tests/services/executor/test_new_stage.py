"""Adding a stage is a row of the table and a folder of services/: a stage that does nothing, added to a copy of the
tree, runs natively and through the spool, is known to the watchers, and no other file was touched.
"""

import shutil
import subprocess
import sys

import pytest

from shared.settings import CHECKOUT

ROW = """
    Stage(
        "noop",
        image="worker",
        activity="doing nothing",
        staged_in=("job.json",),
        staged_out=("noop.json",),
    ),
)


def find_stage("""
MODULE = '''"""Does nothing: `python -m services.noop RUN_DIR`."""

import sys
from pathlib import Path

run = Path(sys.argv[1])
(run / "noop.json").write_text((run / "job.json").read_text())
(run / "forged.json").write_text("not in the row")
sys.exit(len(sys.argv) - 2)
'''
EXECUTE = """
import sys
from pathlib import Path
from services.console.progress import plain
from shared.stages.executors import NativeExecutor
from shared.stages.spool import SpoolExecutor
from shared.stages.table import find_stage

kind, run, spool, watched = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), []
executor = NativeExecutor(poll_s=0.01) if kind == "native" else SpoolExecutor(spool)
assert executor.execute("noop", [str(run)], watched.append) == (0, "")
assert (run / "noop.json").read_text() == "the job"
assert (run / "forged.json").exists() == (kind == "native"), "only what the row names comes back"
assert executor.execute("noop", [str(run), "more"], watched.append)[0] == 1
assert set(watched) == {"noop"} and find_stage("noop").activity == "doing nothing"
"""


@pytest.fixture
def tree(tmp_path):
    """What a stage needs of the checkout, with one row and one folder more."""
    for room in ("shared", "services", "kernels"):
        shutil.copytree(CHECKOUT / room, tmp_path / "tree" / room, ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "tree" / "shared" / "stages" / "table.py"
    before, after = table.read_text().split(")\n\n\ndef find_stage(")
    table.write_text(before + ROW.lstrip("\n") + after)
    folder = tmp_path / "tree" / "services" / "noop"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(MODULE)
    return tmp_path / "tree"


@pytest.mark.parametrize("kind", ["native", "spool"])
def test_a_new_stage_is_a_row_and_a_folder(tree, tmp_path, kind):
    run, spool = tmp_path / "run-1", tmp_path / "spool"
    run.mkdir()
    (run / "job.json").write_text("the job")
    runners = [
        subprocess.Popen([sys.executable, "-m", "services.executor", str(spool), "noop"], cwd=tree)
        for _ in range(2 if kind == "spool" else 0)
    ]
    argv = [sys.executable, "-c", EXECUTE, kind, str(run), str(spool)]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [runner.wait(20) for runner in runners] == [0] * len(runners)
