"""A container's first process collects what is not its own, and leaves the exit code of its stage alone."""

import subprocess
import sys

import pytest

from shared.settings import CHECKOUT

PROGRAM = """
import ctypes, os, subprocess, sys, time
import psutil
from services.executor.orphans import collect_orphans

ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # adopts orphans, as a first process does

def zombies():
    return {child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE}

subprocess.run(["sh", "-c", "(exec true) & exit 0"], check=True)
while not zombies():
    time.sleep(0.01)
collect_orphans(None)
assert not zombies()

stage = subprocess.Popen(["sh", "-c", "exit 7"])
while stage.pid not in zombies():
    time.sleep(0.01)
collect_orphans(stage.pid)
assert stage.wait() == 7
collect_orphans(None)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="containers run Linux")
def test_orphans_are_collected_and_the_exit_code_of_the_stage_is_kept():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
