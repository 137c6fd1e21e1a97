"""Ends that nobody of ours asked for: executors and workers that are told to stop, as an engine tells all of them."""

import psutil
import pytest

from shared.contracts import Status, VoidCause
from shared.runs.directory import RunDirectory
from tests.executor_contract import is_gone
from tests.fleet import overlaps, wait_for
from tests.recipes import HONEST
from tests.services.worker.test_faults import running, stage_of
from tests.services.worker.test_resume import JOB, SHAPE

LONG = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "time_budget": 30.0}


def test_a_stage_that_somebody_told_to_end_costs_an_attempt_and_not_the_job(hub, start_worker, workplace):
    worker = start_worker()
    job = hub.enqueue(job_id="stopped", **LONG | {"time_budget": 1.0})
    running(hub, workplace, "stopped-a1")
    stage_of(worker).terminate()
    assert (hub.outcome(job).status, hub.outcome(job).attempt) == (Status.OK, 2)
    first = RunDirectory.of("stopped-a1").result()
    assert (first.status, first.void) == (Status.CANCELLED, VoidCause.EXECUTOR_LOST)
    assert first.reason == "void: the stage was told to end from outside (cancelled by SIGTERM)"


def test_training_goes_on_from_the_checkpoint_of_an_attempt_that_was_told_to_end(hub, start_worker):
    start_worker(real=True)
    job = hub.enqueue(job_id="long", rung="cheap", **JOB, set=SHAPE, tokens=150 * 512)
    first = RunDirectory.of("long-a1")
    wait_for(lambda: (first.checkpoint_dir / "latest.json").exists(), 60)
    supervisor_of(first).terminate()
    outcome = hub.outcome(job, 90)
    assert (outcome.status, outcome.attempt) == (Status.OK, 2), outcome.reason
    assert first.result().void is VoidCause.EXECUTOR_LOST
    assert RunDirectory.of("long-a2").training().resumed_from_step > 0


def supervisor_of(run: RunDirectory) -> psutil.Process:
    found = [process for process in psutil.process_iter() if str(run.path) in command_of(process)]
    return next(process for process in found if "services.trainer" in command_of(process))


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize("busy", [False, True])
def test_a_worker_that_is_told_to_end_while_the_queue_is_gone_does_not_wait_for_it(hub, start_worker, workplace, busy):
    """A container engine that stops would wait for it, or give up on it."""
    worker = start_worker()
    job = hub.enqueue(job_id="victim", **LONG) if busy else None
    stage = stage_of(worker) if busy else None
    hub.kill()
    worker.terminate()
    worker.process.wait(25)
    assert "Traceback" not in worker.output()
    if stage is None or job is None:
        return
    wait_for(lambda: is_gone(stage))
    hub.start()
    start_worker()
    wait_for(lambda: hub.store.attempts(job) == 2)
    assert overlaps(workplace) == []
