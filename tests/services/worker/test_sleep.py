"""A machine that was suspended during an attempt has spoiled it. The clock is a file: nobody can suspend a test."""

import time

import pytest

from services.worker import watch
from services.worker.watch import LONGEST_STOP_S, Slept, Watcher, seconds_asleep
from shared.contracts import Status, VoidCause
from shared.files import write_atomic
from shared.fleet.contracts import Delivery
from shared.runs.directory import RunDirectory, read_record
from tests.executor_contract import is_gone
from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.services.worker.test_faults import running, stage_of

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny"}


@pytest.fixture
def asleep(tmp_path):
    """Sets for how long the machine has slept so far."""
    file = tmp_path / "asleep"

    def for_s(seconds: float) -> None:
        write_atomic(file, str(seconds))

    for_s(1000.0)  # it slept before; only what it sleeps during an attempt counts
    return for_s


def test_an_attempt_during_which_the_machine_slept_is_void_and_starts_again(
    hub, start_worker, workplace, tmp_path, asleep
):
    worker = start_worker(FAST_ASLEEP=str(tmp_path / "asleep"))
    job = hub.enqueue(job_id="laptop", **JOB, time_budget=2)
    running(hub, workplace, "laptop-a1")
    stage = stage_of(worker)
    asleep(1003.0)

    wait_for(lambda: is_gone(stage))
    assert (hub.outcome(job).status, hub.outcome(job).attempt) == (Status.OK, 2)
    first = RunDirectory.of("laptop-a1")
    assert (first.result().status, first.result().val_bpb) == (Status.CANCELLED, None)
    assert first.result().reason == "void: this machine slept for 3 s during the attempt"
    assert first.result().void is VoidCause.HOST_SLEPT
    assert read_record(first.path / "delivery.json", Delivery).verdict == "void"
    assert hub.store.refused(job) == []


def test_a_machine_that_never_stays_awake_is_said_so(hub, start_worker, workplace, tmp_path, asleep):
    worker = start_worker(FAST_ASLEEP=str(tmp_path / "asleep"))
    job = hub.enqueue(**JOB, time_budget=20)
    for number in (1, 2, 3):
        wait_for(lambda number=number: hub.store.attempts(job) == number)
        running(hub, workplace, f"{job}-a{number}")
        stage_of(worker)
        asleep(1000.0 + 10 * number)
    assert hub.outcome(job).status is Status.CANCELLED
    assert hub.outcome(job).reason == "void: this machine slept for 10 s during the attempt"


@pytest.mark.parametrize(("slept_s", "is_void"), [(0.0, False), (LONGEST_STOP_S, False), (LONGEST_STOP_S + 0.1, True)])
def test_a_blink_is_no_sleep(monkeypatch, slept_s, is_void):
    slept = [100.0]
    monkeypatch.setattr(watch, "seconds_asleep", lambda: slept[0])
    watcher = Watcher(attempt=None)
    slept[0] += slept_s
    if is_void:
        with pytest.raises(Slept):
            watcher.tick("trainer")
    else:
        watcher.tick("trainer")


def test_the_real_clock_counts_no_second_in_which_the_machine_was_awake():
    before = seconds_asleep()
    time.sleep(0.05)
    assert abs(seconds_asleep() - before) < 0.01
