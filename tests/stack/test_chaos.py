"""Containers killed at seeded random moments while jobs run: none is lost, none recorded twice, all come to an end."""

import json
import os
import random
import time
from collections import Counter

import pytest

from shared.contracts import Status
from tests.fleet import wait_for
from tests.recipes import HONEST

pytestmark = pytest.mark.stack

SEED = int(os.environ.get("CHAOS_SEED", "1"))
JOBS = 4
# each of them at least once, in an order of the seed
BLOWS = ["trainer", "evaluator", "worker", "redis", "mlflow", "database", "worker", "trainer"]
PAUSE_S = (2.0, 7.0)


def test_no_job_is_lost_or_recorded_twice_whatever_container_is_killed(stack, enqueue):
    dice = random.Random(SEED)
    names = [enqueue(f"storm-{number}", seconds=dice.uniform(0.5, 3.0)) for number in range(JOBS)]
    for service in dice.sample(BLOWS, len(BLOWS)):
        time.sleep(dice.uniform(*PAUSE_S))
        dice.choice([stack.kill, stack.crash])(service)
    outcomes = [stack.outcome(name, timeout_s=240) for name in names]
    ended = Counter(str(outcome.status) for outcome in outcomes)
    runs = {outcome.run_id for outcome in outcomes if outcome.run_id}  # a job that was given up has none
    wait_for(lambda: is_settled(stack, names, runs), 120, every_s=1)
    print(f"seed {SEED}: {len(BLOWS)} kills, {ended}, attempts {[outcome.attempt for outcome in outcomes]}")
    # a job that was hit three times is given up, which is an end and is said
    assert set(ended) <= {Status.OK, Status.CRASHED}
    assert {name: times for name, times in Counter(map(job_of, stack.recorded())).items() if name and times > 1} == {}


def test_another_worker_goes_on_with_the_job_of_a_killed_one(stack, enqueue):
    name = stack.in_training(enqueue("taken-over", HONEST, "checkpoint_every=1", seconds=8.0))
    time.sleep(3)
    stack.kill("worker")
    outcome = stack.outcome(name)
    training = json.loads(stack.run_file(outcome.run_id, "training.json"))
    assert outcome.status == Status.OK, outcome.reason
    assert outcome.attempt > 1, "it ended before its worker did"
    assert training["resumed_from_step"] > 0


def is_settled(stack, names: list[str], expected: set[str]) -> bool:
    """MLflow answers, has the run of every job that has one, and nothing half of any of them."""
    try:
        ours = [run for run in stack.recorded() if job_of(run) in names]
    except OSError:
        return False
    return {run["run_id"] for run in ours} == expected and all(run["status"] != "RUNNING" for run in ours)


def job_of(run: dict) -> str:
    return (run["run_id"] or "").rpartition("-a")[0]
