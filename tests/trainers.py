"""Starting a real trainer on a run directory, and waiting for what it does."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from shared.contracts import TrainingRecord
from shared.runs.directory import RunDirectory
from shared.settings import CHECKOUT


def start_trainer(run: RunDirectory) -> subprocess.Popen:
    command = [sys.executable, "-m", "services.trainer", str(run.path)]
    return subprocess.Popen(command, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True)


def train(run: RunDirectory, timeout_s: float = 120.0) -> tuple[TrainingRecord, int]:
    """The record of a training run, and its exit code."""
    process = start_trainer(run)
    process.communicate(timeout=timeout_s)
    return run.training(), process.returncode


def wait_for(condition: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value
