"""What Docker's `restart: always` does for the executors of a spool: `make()` starts them and gives the other side."""

import subprocess
import sys
import tempfile
from pathlib import Path

from shared.sandbox.processes import dies_with_parent
from shared.settings import CHECKOUT
from shared.stages.spool import SpoolExecutor

KEEPER = """
import subprocess, sys
from shared.sandbox.processes import dies_with_parent
takers = {}
while True:
    for stage in ("prepare", "trainer", "evaluator"):
        taker = takers.get(stage)
        if taker is None or taker.poll() is not None:
            argv = [sys.executable, "-m", "services.executor", sys.argv[1], stage]
            takers[stage] = subprocess.Popen(dies_with_parent(argv))
    for taker in takers.values():
        try:
            taker.wait(0.05)
        except subprocess.TimeoutExpired:
            pass
"""


def make() -> SpoolExecutor:
    """They die with this process."""
    folder = tempfile.mkdtemp(prefix="are-spool-")
    subprocess.Popen(dies_with_parent([sys.executable, "-c", KEEPER, folder]), cwd=CHECKOUT)
    return SpoolExecutor(Path(folder))
