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
PAUSE_S = (1.0, 6.0)


def test_no_job_is_lost_or_recorded_twice_whatever_container_is_killed(stack, enqueue):
    dice = random.Random(SEED)
    names = [enqueue(f"storm-{number}", seconds=dice.uniform(0.5, 3.0)) for number in range(JOBS)]
    for service in dice.sample(BLOWS, len(BLOWS)):
        time.sleep(dice.uniform(*PAUSE_S))
        dice.choice([stack.kill, stack.crash])(service)
    outcomes = [stack.outcome(name, timeout_s=240) for name in names]
    ended = Counter(str(outcome.status) for outcome in outcomes)
    wait_for(lambda: is_settled(stack, names), 120, every_s=1)
    print(f"seed {SEED}: {len(BLOWS)} kills, {ended}, attempts {[outcome.attempt for outcome in outcomes]}")
    # a job that was hit three times is given up, which is an end and is said
    assert set(ended) <= {Status.OK, Status.CRASHED}
    assert {name: times for name, times in jobs_of(stack.recorded()).items() if times > 1} == {}


def test_another_worker_goes_on_with_the_job_of_a_killed_one(stack, enqueue):
    name = stack.in_training(enqueue("taken-over", HONEST, "checkpoint_every=1", seconds=8.0))
    time.sleep(3)
    stack.kill("worker")
    outcome = stack.outcome(name)
    training = json.loads(stack.run_file(outcome.run_id, "training.json"))
    assert (outcome.status, outcome.attempt) == (Status.OK, 2), outcome.reason
    assert training["resumed_from_step"] > 0


def is_settled(stack, names: list[str]) -> bool:
    """MLflow answers, has every job, and none of them half."""
    try:
        runs = stack.recorded()
    except OSError:
        return False
    return set(names) <= jobs_of(runs).keys() and all(run["status"] != "RUNNING" for run in runs)


def jobs_of(runs: list[dict]) -> Counter:
    return Counter(run["run_id"].rpartition("-a")[0] for run in runs if run["run_id"])
