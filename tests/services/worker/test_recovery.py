"""Whether the process of an attempt still lives, told by more than its number."""

import os
import time

import psutil

from services.worker.recovery import is_alive
from shared.fleet.contracts import AttemptRecord


def record(pid: int, started_at: float) -> AttemptRecord:
    return AttemptRecord(
        job_id="job", number=1, execution="e", queue="cpu", device="cpu", worker="w", pid=pid, started_at=started_at
    )


def test_an_attempt_of_a_process_that_runs_is_alive():
    assert is_alive(record(os.getpid(), time.time()))
    assert is_alive(record(os.getpid(), psutil.Process().create_time()))


def test_a_younger_process_of_the_same_id_is_another_one():
    """A container's process ids begin at 1 every time it starts."""
    assert not is_alive(record(os.getpid(), psutil.Process().create_time() - 60))


def test_a_process_that_is_gone_is_not_alive():
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert not is_alive(record(child, time.time()))


def test_a_zombie_is_not_alive():
    if (child := os.fork()) == 0:
        os._exit(0)
    while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    try:
        assert not is_alive(record(child, time.time()))
    finally:
        os.waitpid(child, 0)
