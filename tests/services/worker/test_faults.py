"""Processes and servers that die, freeze and come back: no job lost, none recorded twice, none beside another."""

import os
import time

import psutil
import pytest

from shared.contracts import Status
from shared.fleet.contracts import Outcome
from shared.runs.directory import RunDirectory
from tests.device_holding import held_elsewhere
from tests.executor_contract import is_gone
from tests.fleet import command_line, horse_of, intervals, is_keeper, overlaps, wait_for
from tests.recipes import HONEST

LONG = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "time_budget": 30.0}
SHORT = LONG | {"time_budget": 0.2}


def stage_of(worker) -> psutil.Process:
    """The process of the stage that runs now."""

    def look():
        tree = psutil.Process(worker.pid).children(recursive=True)
        return [one for one in tree if "fleet_stage.py" in " ".join(command_line(one)) and not is_keeper(one)]

    return wait_for(look)[0]


def horse_at_work(worker) -> psutil.Process:
    stage_of(worker)
    return horse_of(worker)


def running(hub, workplace, job_id: str) -> None:
    wait_for(lambda: any(entry["run"].startswith(job_id) for entry in intervals(workplace)))


def test_a_killed_horse_costs_an_attempt(hub, start_worker, workplace):
    worker = start_worker()
    job = hub.enqueue(job_id="victim", **SHORT | {"time_budget": 1.0})
    stage = stage_of(worker)
    horse_at_work(worker).kill()
    started = time.monotonic()
    wait_for(lambda: is_gone(stage), every_s=0.005)

    assert time.monotonic() - started < 1
    assert (hub.outcome(job).status, hub.outcome(job).attempt) == (Status.OK, 2)
    assert overlaps(workplace) == []


def test_three_dead_horses_are_the_end(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**LONG)
    for number in (1, 2, 3):
        wait_for(lambda number=number: hub.store.attempts(job) == number)
        horse_at_work(worker).kill()
    outcome = hub.outcome(job)
    assert outcome.status is Status.CRASHED
    assert "given up after the last attempt" in outcome.reason
    wait_for(lambda: hub.status(job) == "failed")


def test_a_dead_stage_is_noticed_at_once_and_tried_again(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**SHORT | {"time_budget": 1.0})
    stage_of(worker).kill()
    started = time.monotonic()
    wait_for(lambda: hub.store.attempts(job) == 2)
    assert time.monotonic() - started < 1
    assert hub.outcome(job).attempt == 2


def test_a_worker_started_again_on_the_device_need_not_wait_for_the_lease(hub, start_worker, workplace):
    first = start_worker()
    job = hub.enqueue(**SHORT | {"time_budget": 2.0})
    stage = stage_of(first)
    first.kill()
    wait_for(lambda: is_gone(stage))
    killed = time.monotonic()
    start_worker()
    assert hub.outcome(job).attempt == 2
    assert time.monotonic() - killed < 15
    assert overlaps(workplace) == []


@pytest.mark.slow
def test_a_peer_notices_a_dead_worker_within_90_s(hub, start_worker, workplace):
    first = start_worker("one")
    job = hub.enqueue(**SHORT | {"time_budget": 2.0})
    stage_of(first)
    start_worker("two")
    first.kill()
    killed = time.monotonic()
    assert hub.outcome(job, timeout_s=90).attempt == 2
    print(f"peer took over and finished after {time.monotonic() - killed:.1f} s")


def test_a_frozen_worker_finds_its_job_taken_and_its_result_refused(hub, start_worker, workplace):
    """SIGSTOP longer than the lease; the lease is ended by hand, as its end would be, to save half a minute.

    The worker goes on after its horse: it ends a horse that has lost its lease, and then there is no result to refuse.
    """
    first = start_worker("one")
    job = hub.enqueue(job_id="sleeper", **SHORT | {"time_budget": 2.0})
    stage_of(first)  # its horse has said that the job has started
    horse = horse_of(first)
    frozen = [horse, *horse.children(recursive=True)]
    for process in (psutil.Process(first.pid), *frozen):
        process.suspend()
    hub.store.end_lease("cpu", job, hub.store.newest_execution(job))
    start_worker("two")
    outcome = hub.outcome(job)
    assert (outcome.attempt, outcome.status) == (2, Status.OK)
    wait_for(lambda: hub.status(job) == "finished")
    for process in frozen:
        process.resume()

    late = wait_for(lambda: hub.store.refused(job))[0]
    assert (late.attempt, late.status) == (1, Status.OK)
    psutil.Process(first.pid).resume()
    wait_for(lambda: hub.connection.hget(f"rq:worker:one-{first.pid}", "state") == b"idle")
    assert hub.store.outcome(job) == outcome
    assert hub.status(job) == "finished"
    assert hub.queue().fetch_job(job).return_value()["attempt"] == 2
    assert (RunDirectory.of("sleeper-a1").path / "delivery.json").exists()


def test_redis_that_is_away_at_the_end_of_an_attempt_costs_nothing(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**SHORT | {"time_budget": 1.0})
    stage_of(worker)
    hub.kill()
    time.sleep(3)
    hub.start()
    assert hub.outcome(job).attempt == 1
    wait_for(lambda: hub.status(job) == "finished")
    assert worker.process.poll() is None


def test_redis_killed_in_the_middle_costs_nothing(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**SHORT | {"time_budget": 3.0})
    stage_of(worker)
    hub.kill()
    time.sleep(1)
    hub.start()
    assert hub.outcome(job).attempt == 1
    assert worker.process.poll() is None


def test_a_result_on_disk_is_delivered_by_the_next_worker(hub, start_worker, workplace):
    """The worker and Redis both die between the end of the experiment and its report."""
    first = start_worker()
    job = hub.enqueue(job_id="late", **SHORT | {"time_budget": 1.0})
    stage_of(first)
    hub.kill()
    wait_for(lambda: RunDirectory.of("late-a1").result_file.exists())
    first.kill()
    hub.start()
    start_worker()
    assert hub.outcome(job).attempt == 1
    wait_for(lambda: hub.status(job) == "finished")
    assert len(intervals(workplace)) == 1


def test_sigterm_lets_the_attempt_end(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**SHORT | {"time_budget": 1.5})
    second = hub.enqueue(**SHORT)
    stage_of(worker)
    worker.terminate()
    assert worker.process.wait(20) == 0
    assert hub.store.outcome(job).status is Status.OK
    assert hub.status(second) == "queued"


def test_a_second_sigterm_hands_the_job_back(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**LONG)
    stage = stage_of(worker)
    worker.terminate()
    time.sleep(1.2)  # RQ takes a second signal within a second for an echo
    worker.terminate()
    worker.process.wait(10)
    wait_for(lambda: is_gone(stage))
    assert hub.status(job) == "queued"


def test_a_second_worker_of_a_device_does_not_start(hub, start_worker):
    start_worker()
    with pytest.raises(AssertionError, match="has a worker already"):
        start_worker()


def test_an_attempt_waits_while_somebody_else_has_the_device(hub, start_worker, workplace):
    with held_elsewhere("cpu"):
        start_worker(real=True)
        job = hub.enqueue(recipe=HONEST, dataset="nothing", time_budget=1)
        assert hub.outcome(job).status is Status.INVALID
        job = hub.enqueue(recipe=HONEST, dataset="words", time_budget=1)
        wait_for(lambda: hub.store.progress(job))
        assert hub.store.outcome(job) is None
        hub.store.ask_to_cancel(job)
        assert hub.outcome(job).status is Status.CANCELLED


def test_cancel_reaches_a_running_attempt_within_a_second(hub, start_worker):
    worker = start_worker()
    job = hub.enqueue(**LONG)
    stage = stage_of(worker)
    asked = time.monotonic()
    hub.store.ask_to_cancel(job)
    wait_for(lambda: is_gone(stage), every_s=0.005)
    assert time.monotonic() - asked < 1
    assert hub.outcome(job).status is Status.CANCELLED
    assert hub.outcome(job).result.reason == "cancelled on request"


def test_a_cancelled_job_is_not_begun(hub, start_worker, workplace):
    job = hub.enqueue(**LONG)
    hub.store.ask_to_cancel(job)
    start_worker()
    assert hub.outcome(job).status is Status.CANCELLED
    assert intervals(workplace) == []


def test_rqs_own_stop_command_is_a_cancel(hub, start_worker):
    from rq.command import send_stop_job_command
    from rq.serializers import JSONSerializer

    worker = start_worker()
    job = hub.enqueue(**LONG)
    stage = stage_of(worker)
    send_stop_job_command(hub.connection, job, serializer=JSONSerializer)
    wait_for(lambda: is_gone(stage), every_s=0.005)
    assert hub.outcome(job).status is Status.CANCELLED
    assert hub.status(job) == "stopped"


def test_a_job_enqueued_twice_under_one_id_is_run_once(hub, start_worker, workplace):
    hub.enqueue(job_id="same", **SHORT)
    start_worker()
    first = hub.outcome("same")
    wait_for(lambda: hub.status("same") == "finished")
    hub.enqueue(job_id="same", **SHORT)
    wait_for(lambda: hub.status("same") == "finished")
    assert hub.store.outcome("same") == first
    assert len(intervals(workplace)) == 1


def test_an_id_belongs_to_the_job_that_had_it_first(hub, start_worker):
    start_worker()
    hub.enqueue(job_id="mine", **SHORT)
    first = hub.outcome("mine")
    wait_for(lambda: hub.status("mine") == "finished")
    hub.enqueue(job_id="mine", **SHORT | {"seed": 99})
    wait_for(lambda: hub.status("mine") == "failed")
    assert hub.store.outcome("mine") == first


def test_the_first_result_of_the_newest_attempt_counts(hub):
    store = hub.store

    def outcome(attempt):
        return Outcome(job_id="j", status=Status.OK, attempt=attempt)

    assert [store.begin("j", name, "digest").number for name in ("x", "y", "y")] == [1, 2, 2]
    assert store.accept("x", outcome(1)) == "superseded"
    assert store.accept("y", outcome(2)) == "accepted"
    assert store.accept("y", outcome(2)) == "accepted"
    assert store.accept("x", outcome(1)) == "late"
    assert store.begin("j", "z", "digest").answer == "done"
    assert store.begin("j", "z", "other").answer == "taken"
    assert [refused.attempt for refused in store.refused("j")] == [1, 1]
    store.reopen("j")
    assert store.begin("j", "w", "other").number == 3


def test_no_password_is_in_any_argv_or_log(hub, start_worker):
    hub.connection.config_set("requirepass", "s3cret-word")
    url = hub.url.replace("//", "//:s3cret-word@")
    worker = start_worker(ARE_REDIS_URL=url)
    hub.url = url
    job = hub.enqueue(**SHORT | {"time_budget": 1.0})
    stage = stage_of(worker)
    tree = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    assert not [process for process in tree if "s3cret" in " ".join(process.cmdline())]
    assert "s3cret" not in str(stage.environ())
    assert hub.outcome(job).status is Status.OK
    assert "s3cret" not in worker.output()


def test_a_full_disk_is_no_fault_of_the_job(hub, start_worker, workplace, tmp_path):
    blocked = workplace / "attempts"
    blocked.write_text("in the way")
    start_worker()
    outcome = hub.outcome(hub.enqueue(**SHORT))
    assert outcome.status is Status.CRASHED
    assert "given up" in outcome.reason
    os.remove(blocked)
    assert hub.outcome(hub.enqueue(**SHORT)).status is Status.OK
