"""The worker for macOS, on any machine: new processes for horses, nothing secret in their command lines."""

from shared.contracts import Status
from shared.settings import CHECKOUT
from tests.fleet import horse_of, wait_for
from tests.recipes import HONEST

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "rung": "cheap"}
PROGRAM = CHECKOUT / "tests" / "fleet_spawn_worker.py"


def test_a_spawned_horse_trains_without_a_secret_in_its_argv(hub, start_worker):
    hub.connection.config_set("requirepass", "s3cret-word")
    url = hub.url.replace("//", "//:s3cret-word@")
    worker = start_worker(program=PROGRAM, ARE_REDIS_URL=url)
    hub.url = url
    job = hub.enqueue(**JOB, tokens=20 * 12288)
    horse = horse_of(worker)
    assert "s3cret" not in " ".join(horse.cmdline()) + str(horse.environ())
    outcome = hub.outcome(job, 90)
    assert (outcome.status, outcome.attempt) == (Status.OK, 1), outcome.reason
    wait_for(lambda: hub.status(job) == "finished")


def test_a_spawned_horse_that_dies_is_replaced_and_obeys_a_cancel(hub, start_worker):
    worker = start_worker(program=PROGRAM)
    job = hub.enqueue(**JOB, time_budget=60)
    wait_for(lambda: hub.store.progress(job))
    horse_of(worker).kill()
    wait_for(lambda: hub.store.attempts(job) == 2)
    wait_for(lambda: (now := hub.store.progress(job)) and now.attempt == 2)
    hub.store.ask_to_cancel(job)
    assert hub.outcome(job).status is Status.CANCELLED
