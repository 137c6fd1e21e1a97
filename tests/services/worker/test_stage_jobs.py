"""Jobs that run one stage on no run directory: how its exit code becomes an outcome or another attempt."""

import signal

import pytest

from services.worker import jobs, stage_job
from services.worker.attempt import Attempt, InfrastructureFault, current
from services.worker.stage_job import run_stage
from services.worker.watch import WAITING
from shared.contracts import PrepareJob, Status
from shared.fleet.contracts import AttemptRecord
from shared.kernel_lab.job import Evidence, LabJob
from shared.settings import settings
from shared.stages.executors import BAD_INPUT, DEVICE_BUSY, DISK_FAULT, INTERRUPTED

JOB = LabJob(command=Evidence())


class Ending:
    """An executor whose stages end with these codes, one after the other."""

    def __init__(self, *codes: int):
        self.codes, self.told = list(codes), []

    def execute(self, stage, arguments, watch):
        self.told.append(watch.__self__.stage)
        watch(stage)
        return self.codes.pop(0), "one line"


@pytest.fixture
def attempt_with(hub):
    def make(executor: Ending) -> Attempt:
        record = AttemptRecord(
            job_id="j", number=1, execution="e", queue="cpu", device="cpu", worker="w", host="h", pid=1, started_at=0.0
        )  # fmt: skip
        return Attempt(record, target="cpu", retries_left=2, store=hub.store, looking_in=hub.store, executor=executor)

    return make


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGTERM, INTERRUPTED])
def test_a_stage_that_was_ended_from_outside_is_started_again(attempt_with, code):
    with pytest.raises(InfrastructureFault, match="the kernel-lab was ended from outside"):
        run_stage(attempt_with(Ending(code)), "kernel-lab", JOB)


def test_a_full_disk_of_this_host_is_no_fault_of_the_job_which_is_started_again(attempt_with):
    with pytest.raises(InfrastructureFault, match="one line"):
        run_stage(attempt_with(Ending(DISK_FAULT)), "calibrator", JOB)


@pytest.mark.parametrize(("code", "status"), [(0, Status.OK), (BAD_INPUT, Status.INVALID), (1, Status.CRASHED)])
def test_an_exit_code_is_a_status(attempt_with, code, status):
    assert run_stage(attempt_with(Ending(code)), "kernel-lab", JOB) == (status, "one line")


def test_while_somebody_else_has_the_device_a_job_waits_and_says_so(attempt_with, monkeypatch):
    monkeypatch.setattr(stage_job, "DEVICE_POLL_S", 0.0)
    executor = Ending(DEVICE_BUSY, 0)
    assert run_stage(attempt_with(executor), "kernel-lab", JOB)[0] is Status.OK
    assert executor.told == [None, WAITING]


def test_a_job_is_cancelled_while_its_stage_runs(attempt_with, hub):
    class Asked(Ending):
        def execute(self, stage, arguments, watch):
            hub.store.ask_to_cancel("j")
            watch.__self__.cancelled.wait(10)
            return super().execute(stage, arguments, watch)

    assert run_stage(attempt_with(Asked(0)), "kernel-lab", JOB) == (Status.CANCELLED, "cancelled on request")


def test_a_corpus_that_cannot_be_read_is_the_fault_of_whoever_names_it(attempt_with):
    current.set(attempt_with(Ending(BAD_INPUT)))
    assert jobs.prepare(**PrepareJob(corpus="parquet:/nowhere").model_dump())["status"] == "invalid"


LONG = {
    "calibrate": ({"dataset": "words", "budget": 10080}, "a calibration of 10080 minutes"),
    "by its mode": ({"dataset": "words", "presets": "m5-tiny"}, "a calibration of 10 minutes"),
    "comparison": (
        {"command": "integration-ab", "candidate": "rmsnorm/torch_compiled", "time_budget": 30, "repeats": 50},
        "runs of 3000 s together",
    ),
    "suite": (
        {"command": "integration-suite", "candidate": "rmsnorm/torch_compiled", "time_budget": 10, "repeats": 5},
        "runs of 200 s together",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), LONG.values(), ids=LONG)
def test_a_job_that_asks_for_more_than_its_worker_takes_is_refused(
    attempt_with, workplace, monkeypatch, arguments, said
):
    monkeypatch.setenv("ARE_LARGEST_BUDGET_S", "120")
    settings.cache_clear()
    current.set(attempt_with(Ending()))
    answer = (jobs.lab if "command" in arguments else jobs.calibrate)(**arguments)
    assert answer["status"] == "invalid"
    assert answer["reason"].startswith(f"{said}: this worker takes at most 120 s (ARE_LARGEST_BUDGET_S)")


class Endless(Ending):
    def execute(self, stage, arguments, watch):
        while True:
            watch(stage)


def test_a_command_of_the_lab_is_ended_after_what_its_worker_takes_a_job_for(attempt_with, monkeypatch):
    monkeypatch.setenv("ARE_LARGEST_BUDGET_S", "0.05")
    settings.cache_clear()
    current.set(attempt_with(Endless()))
    answer = jobs.lab(command="bench", candidate="rmsnorm/torch_compiled", rounds=1000)
    assert answer["status"] == "timed_out"
    assert "longer than the 0.05 s" in answer["reason"]


def test_waiting_for_the_device_is_no_part_of_that_time(attempt_with, monkeypatch):
    monkeypatch.setattr(stage_job, "DEVICE_POLL_S", 0.06)
    executor = Ending(DEVICE_BUSY, DEVICE_BUSY, 0)
    assert run_stage(attempt_with(executor), "kernel-lab", JOB, limit_s=0.1)[0] is Status.OK
