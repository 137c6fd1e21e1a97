"""make down, and an up that replaces containers: attempts end first, NOW=1 does not wait, nothing kept is lost."""

import pytest

from tests.fleet import wait_for
from tests.recipes import HONEST
from tests.stack.containers import docker

pytestmark = pytest.mark.stack


@pytest.fixture
def stack_again(stack):
    """Up again, should a test have ended halfway."""
    yield stack
    if not (stack.container("worker") and stack.state("worker")["Running"]):
        stack.up()


def is_gone(stack) -> bool:
    return not any(stack.container(name) for name in ("worker", "trainer", "evaluator", "redis", "mlflow", "database"))


def test_down_lets_the_experiment_end_and_the_next_start_has_everything(stack_again, enqueue):
    name = stack_again.in_training(enqueue("ends-first", seconds=6.0))
    waiting = enqueue("waits-through")
    done = stack_again.make("down")
    assert done.returncode == 0, done.stderr
    assert is_gone(stack_again)
    stack_again.up()
    outcome = stack_again.outcome(name)
    assert (outcome.status, outcome.attempt) == ("ok", 1), outcome.reason
    assert stack_again.outcome(waiting).status == "ok"
    runs = wait_for(lambda: [run for run in stack_again.recorded() if run["run_id"] == outcome.run_id], 60)
    assert len(runs) == 1


def test_down_now_does_not_wait_and_the_job_starts_again(stack_again, enqueue):
    name = stack_again.in_training(enqueue("cut-short", HONEST, "checkpoint_every=1", seconds=25.0))
    done = stack_again.make("down", NOW="1")
    assert done.returncode == 0, done.stderr
    assert is_gone(stack_again)
    assert f"{stack_again.name}-redis" in docker("volume", "ls", "--quiet").splitlines()
    stack_again.up()
    outcome = stack_again.outcome(name)
    assert outcome.status == "ok", outcome.reason
    assert outcome.attempt > 1, "down waited for it"


def test_an_up_that_replaces_containers_lets_the_experiment_end_first(stack_again, enqueue):
    name = stack_again.in_training(enqueue("undisturbed", seconds=6.0))
    executor = stack_again.container("trainer")
    stack_again.up(EXECUTOR_MEMORY="2g")
    assert stack_again.container("trainer") != executor
    outcome = stack_again.outcome(name)
    assert (outcome.status, outcome.attempt) == ("ok", 1), outcome.reason
