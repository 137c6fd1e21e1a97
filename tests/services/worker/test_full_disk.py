"""ARE_RUNS on a disk that is really full, in the middle of an attempt. The disk is a small one that is mounted here."""

import errno
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from shared.contracts import Status
from shared.runs.directory import RunDirectory
from tests.fleet import intervals, wait_for
from tests.recipes import HONEST, variant
from tests.services.worker.test_faults import running
from tests.small_disk import mounted

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny"}
SLOW_STEP = """
def step(self, rows, progress):
    time.sleep(0.05)
    return super().step(rows, progress)
"""
SHAPE = {"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512, "eval_batch_size": 4}


@pytest.fixture
def disk(workplace):
    """The runs of this test on a disk of 16 MiB."""
    with mounted(workplace, "16m") as path:
        yield path


def fill(disk: Path) -> Path:
    """To the last byte. Remove the file to make room."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1 << 16))
    assert is_full(disk)
    return ballast


def is_full(disk: Path) -> bool:
    with suppress(OSError):
        (disk / "probe").write_bytes(bytes(1 << 13))
        return False
    return True


def test_a_disk_that_is_full_for_a_while_costs_an_attempt_and_no_job(hub, start_worker, disk):
    worker = start_worker()
    job = hub.enqueue(job_id="squeezed", **JOB, time_budget=1.0)
    running(hub, disk, "squeezed-a1")
    ballast = fill(disk)
    wait_for(lambda: hub.store.attempts(job) > 1 or hub.status(job) == "queued")
    ballast.unlink()

    outcome = hub.outcome(job)
    assert outcome.status is Status.OK
    assert outcome.attempt > 1
    assert hub.outcome(hub.enqueue(**JOB, time_budget=0.1)).status is Status.OK
    assert worker.process.poll() is None
    wait_for(lambda: not list((disk / "attempts").glob("*.json")))
    assert not list(disk.rglob(".*.tmp"))


def test_a_disk_that_stays_full_is_the_end_that_can_be_requeued(hub, start_worker, disk):
    worker = start_worker()
    job = hub.enqueue(job_id="stuffed", **JOB, time_budget=1.0)
    running(hub, disk, "stuffed-a1")
    ballast = fill(disk)
    outcome = hub.outcome(job)
    assert (outcome.status, outcome.result) == (Status.CRASHED, None)
    assert os.strerror(errno.ENOSPC) in outcome.reason
    assert is_full(disk)
    assert worker.process.poll() is None

    ballast.unlink()
    hub.store.reopen(job)
    hub.enqueue(job_id="stuffed", **JOB, time_budget=0.1)
    assert hub.outcome(job).status is Status.OK


def test_a_result_written_before_the_disk_was_full_counts_and_is_noted_for_mlflow_later(hub, start_worker, disk):
    """Redis is frozen between result.json and its delivery, so that the disk is full at that moment."""
    start_worker()
    job = hub.enqueue(job_id="just-so", **JOB, time_budget=1.0)
    running(hub, disk, "just-so-a1")
    hub.process.send_signal(signal.SIGSTOP)
    wait_for((disk / "just-so-a1" / "result.json").exists)
    ballast = fill(disk)
    hub.process.send_signal(signal.SIGCONT)

    assert (hub.outcome(job).status, hub.outcome(job).attempt) == (Status.OK, 1)
    wait_for(lambda: hub.status(job) == "finished")
    assert not (disk / "just-so-a1" / "delivery.json").exists()
    ballast.unlink()
    wait_for((disk / "outbox" / "just-so-a1.json").exists)
    assert (disk / "just-so-a1" / "delivery.json").exists()
    assert len(intervals(disk)) == 1


@pytest.mark.slow
def test_the_real_trainer_on_a_full_disk_costs_an_attempt_and_no_job(hub, start_worker, disk):
    worker = start_worker(real=True)
    recipe = variant(SLOW_STEP).decode()
    job = hub.enqueue(job_id="real", **JOB | {"recipe": recipe}, set=SHAPE, tokens=100 * 512, rung="cheap")
    first = RunDirectory.of("real-a1")
    wait_for(lambda: first.metrics_file.exists() and first.metrics_file.stat().st_size, 60)
    ballast = fill(disk)
    wait_for(lambda: hub.store.attempts(job) > 1 or hub.status(job) == "queued", 60)
    ballast.unlink()

    outcome = hub.outcome(job, 90)
    assert (outcome.status, outcome.reason, outcome.result.num_steps) == (Status.OK, "", 100)
    assert outcome.attempt > 1
    assert worker.process.poll() is None


def test_a_full_home_is_said_so_and_is_no_fault_of_the_job(
    hub, start_worker, workplace, prepared_home, tmp_path, monkeypatch
):
    with mounted(tmp_path / "home", "16m") as home:
        shutil.copytree(prepared_home, home, dirs_exist_ok=True)
        monkeypatch.setenv("ARE_HOME", str(home))
        worker = start_worker()
        ballast = fill(home)
        outcome = hub.outcome(hub.enqueue(**JOB, time_budget=0.1))
        assert outcome.status is Status.CRASHED
        assert os.strerror(errno.ENOSPC) in outcome.reason
        ballast.unlink()
        assert hub.outcome(hub.enqueue(**JOB, time_budget=0.1)).status is Status.OK
        worker.end()
