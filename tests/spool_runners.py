"""What Docker's `restart: always` does for the executors of a spool: `make()` starts them and gives the other side."""

import subprocess
import sys
import tempfile
from pathlib import Path

from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT
from shared.stages.spool import SpoolExecutor

KEEPER = """
import subprocess, sys
from shared.sandbox.parent_death import dies_with_parent
from shared.stages.table import STAGES
runners = {}
while True:
    for stage in (row.name for row in STAGES):
        runner = runners.get(stage)
        if runner is None or runner.poll() is not None:
            argv = [sys.executable, "-m", "services.executor", sys.argv[1], stage]
            runners[stage] = subprocess.Popen(dies_with_parent(argv))
    for runner in runners.values():
        try:
            runner.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
"""


def make() -> SpoolExecutor:
    """They die with this process."""
    folder = tempfile.mkdtemp(prefix="are-spool-")
    subprocess.Popen(dies_with_parent([sys.executable, "-c", KEEPER, folder]), cwd=CHECKOUT)
    return SpoolExecutor(Path(folder))
