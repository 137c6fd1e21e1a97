"""How soon things end, with the real trainer. Each limit is the promise itself, so a busy machine must keep it too."""

import time

import psutil
import pytest

from shared.contracts import Status
from shared.runs.directory import RunDirectory
from tests.executor_contract import has_trained, processes_of
from tests.fleet import command_line, is_keeper, wait_for
from tests.recipes import light

CANCEL_S, OVERRUN_S, DEAD_TRAINER_S = 1.0, 5.0, 1.0

JOB = {"dataset": "words", "preset": "m5-tiny", "rung": "cheap"}
SMALL = {"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512, "eval_batch_size": 4}
CLINGING = """
def step(self, rows, progress):
    if not hasattr(self, "family") and progress > 0:
        import subprocess
        stubborn = "trap '' TERM HUP INT; sleep 1000 & wait; wait"
        self.family = [subprocess.Popen(["sh", "-c", stubborn], start_new_session=apart) for apart in (True, False)]
    time.sleep(0.01)
    return super().step(rows, progress)
"""
IGNORES_ITS_BUDGET = """
def step(self, rows, progress):
    if progress > 0.2 and hasattr(self, "family"):
        time.sleep(1000)
    return super().step(rows, progress)
"""
STEPS_SLOWLY = "def step(self, rows, progress):\n    time.sleep(0.05)\n    return super().step(rows, progress)"


def started(hub, start_worker, **job) -> tuple[str, RunDirectory]:
    """A job that is in the middle of its training."""
    start_worker(real=True)
    name = hub.enqueue(**JOB | job)
    run = RunDirectory.of(f"{name}-a1")
    wait_for(lambda: has_trained(run), 120)
    return name, run


def is_gone(run: RunDirectory) -> bool:
    return not processes_of(run)


def supervisor_of(run: RunDirectory) -> psutil.Process:
    return next(one for one in processes_of(run) if "services.trainer" in command_line(one) and not is_keeper(one))


def recipe_of(run: RunDirectory) -> psutil.Process:
    """The process of which the supervisor is the parent."""
    return next(one for one in supervisor_of(run).children(recursive=True) if not is_keeper(one))


def cancel_and_see_it_gone(hub, job: str, run: RunDirectory) -> None:
    asked = time.monotonic()
    hub.store.ask_to_cancel(job)
    wait_for(lambda: is_gone(run), CANCEL_S, every_s=0.01)
    print(f"gone {time.monotonic() - asked:.2f} s after the cancel")
    assert hub.outcome(job).status is Status.CANCELLED


@pytest.mark.slow
def test_nothing_of_a_gpt_is_left_a_second_after_its_cancel(hub, start_worker):
    job, run = started(hub, start_worker, time_budget=300)
    assert len(processes_of(run)) > 1
    cancel_and_see_it_gone(hub, job, run)


def test_daemons_that_ignore_signals_are_gone_a_second_after_a_cancel(hub, start_worker):
    recipe = light(CLINGING).decode()
    job, run = started(hub, start_worker, recipe=recipe, engine="mlx", set=SMALL, time_budget=300)
    wait_for(lambda: len([process for process in processes_of(run) if "sleep" in process.cmdline()]) == 2)
    cancel_and_see_it_gone(hub, job, run)


def test_a_recipe_that_ignores_its_budget_and_its_daemons_are_gone_5_s_after_it(hub, start_worker):
    recipe = light(CLINGING + "\n").decode() + in_variant(IGNORES_ITS_BUDGET)
    job, run = started(hub, start_worker, recipe=recipe, engine="mlx", set=SMALL, time_budget=3)
    ended_at = wait_for(lambda: budget_end(run, 3.0))
    wait_for(lambda: is_gone(run), 30, every_s=0.01)
    over_s = time.time() - ended_at
    print(f"gone {over_s:.2f} s after the end of its budget")
    assert over_s <= OVERRUN_S
    assert hub.outcome(job).status is Status.TIMED_OUT


def in_variant(body: str) -> str:
    return "\nclass Second(Variant):" + body.replace("\n", "\n    ") + "\n\ndef build(*a):\n    return Second(*a)\n"


def budget_end(run: RunDirectory, budget_s: float) -> float:
    """By the telemetry, which the supervisor writes some times a second; seconds since the epoch."""
    steps = list(run.steps())
    return run.metrics_file.stat().st_mtime - steps[-1].train_seconds + budget_s if steps else 0.0


def test_a_dead_trainer_is_noticed_within_a_second_and_the_job_starts_again(hub, start_worker):
    job, run = started(hub, start_worker, recipe=light(STEPS_SLOWLY).decode(), engine="mlx", set=SMALL, time_budget=300)
    supervisor_of(run).kill()
    killed = time.monotonic()
    wait_for(lambda: hub.store.attempts(job) == 2, DEAD_TRAINER_S, every_s=0.01)
    print(f"noticed {time.monotonic() - killed:.2f} s after it was killed")
    wait_for(lambda: is_gone(run), 5)
    hub.store.ask_to_cancel(job)
    assert hub.outcome(job).attempt == 2


def test_a_dead_recipe_is_noticed_within_a_second_and_is_a_result(hub, start_worker):
    job, run = started(hub, start_worker, recipe=light(STEPS_SLOWLY).decode(), engine="mlx", set=SMALL, time_budget=300)
    recipe_of(run).kill()
    killed = time.monotonic()
    outcome = hub.outcome(job, DEAD_TRAINER_S)
    print(f"noticed {time.monotonic() - killed:.2f} s after it was killed")
    assert (outcome.status, outcome.attempt) == (Status.CRASHED, 1)
    assert is_gone(run)
