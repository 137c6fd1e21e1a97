"""Attempts whose process is gone: how that is told, and what is written down of one that left no result."""

import os
import sys
import time

import psutil
import pytest

from services.worker.attempt import note_file, open_note
from services.worker.recovery import is_alive, settle_old_attempts
from shared.contracts import Status
from shared.fleet.contracts import AttemptRecord, Outcome, Verdict
from shared.fleet.store import GIVEN_UP
from shared.machine.births import birth_of
from shared.runs.directory import RunDirectory
from shared.tracking.run_bundle import read_delivery
from tests.fleet import RedisServer


def record(pid: int, started_at: float, birth: str = "") -> AttemptRecord:
    return AttemptRecord(
        job_id="job", number=1, execution="e", queue="cpu", device="cpu", worker="w", pid=pid, started_at=started_at,
        birth=birth,
    )  # fmt: skip


def test_an_attempt_of_a_process_that_runs_is_alive():
    assert is_alive(record(os.getpid(), time.time()))
    assert is_alive(record(os.getpid(), psutil.Process().create_time()))


def test_a_younger_process_of_the_same_id_is_another_one():
    """A container's process ids begin at 1 every time it starts."""
    assert not is_alive(record(os.getpid(), psutil.Process().create_time() - 60))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells no other clock")
@pytest.mark.parametrize("set_by_s", [-3600, 3600], ids=["set back before it", "set forward after it"])
def test_a_clock_that_was_set_makes_no_living_attempt_dead_and_no_other_process_it(set_by_s):
    birth, began = birth_of(os.getpid()), psutil.Process().create_time()
    assert is_alive(record(os.getpid(), began + set_by_s, birth))
    assert not is_alive(record(os.getpid(), began + set_by_s, birth + "0"))
    assert not is_alive(record(os.getppid(), time.time(), birth))


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


@pytest.fixture
def store(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server.store
    server.kill()


def dead_attempt(store) -> tuple[AttemptRecord, RunDirectory]:
    """It trained, and was killed before it had a result."""
    store.begin("job", "e", "digest")
    attempt = record(2**22 + 1, time.time())
    directory = RunDirectory.of(attempt.run_id)
    directory.path.mkdir()
    open_note(attempt)
    return attempt, directory


def test_a_dead_attempt_that_a_newer_one_follows_is_settled_as_superseded_so_that_mlflow_forgets_it(workplace, store):
    attempt, directory = dead_attempt(store)
    store.begin("job", "of the next attempt", "digest")
    settle_old_attempts(store, "cpu")
    assert read_delivery(directory).verdict is Verdict.SUPERSEDED
    assert not note_file(attempt).exists()


def test_a_dead_attempt_of_a_job_that_was_given_up_is_settled_as_late(workplace, store):
    attempt, directory = dead_attempt(store)
    store.accept(GIVEN_UP, Outcome(job_id="job", status=Status.CRASHED, reason="given up", attempt=1))
    settle_old_attempts(store, "cpu")
    assert read_delivery(directory).verdict is Verdict.LATE
    assert not note_file(attempt).exists()
