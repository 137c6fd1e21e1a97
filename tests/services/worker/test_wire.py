"""Packets between worker and Redis are dropped silently: no job is lost, what runs goes on, and so does the worker."""

import time

import pytest

from shared.contracts import Status
from tests.fleet import intervals, wait_for
from tests.recipes import HONEST
from tests.services.worker.test_faults import running, stage_of
from tests.wire import Wire

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny"}


@pytest.fixture
def wire(hub):
    wire = Wire(hub.port)
    yield wire
    wire.close()


def test_an_attempt_goes_on_while_packets_are_dropped_and_is_delivered_after(hub, start_worker, workplace, wire):
    worker = start_worker(ARE_REDIS_URL=wire.url)
    job = hub.enqueue(job_id="cut-off", **JOB, time_budget=1.5)
    running(hub, workplace, job)
    wire.cut()
    wait_for((workplace / "cut-off-a1" / "result.json").exists)
    time.sleep(1)
    assert hub.store.outcome(job) is None
    wire.mend()

    assert (hub.outcome(job).status, hub.outcome(job).attempt) == (Status.OK, 1)
    assert len(intervals(workplace)) == 1
    assert hub.outcome(hub.enqueue(**JOB, time_budget=0.1)).status is Status.OK
    assert worker.process.poll() is None


@pytest.mark.slow
def test_dead_connections_are_given_up_before_the_lease_so_no_peer_takes_the_job(hub, start_worker, workplace, wire):
    first = start_worker("one", ARE_REDIS_URL=wire.url)
    job = hub.enqueue(job_id="roaming", **JOB, time_budget=45)
    stage_of(first)
    start_worker("two")
    wire.cut()
    wire.mend(lose_connections=True)

    assert (hub.outcome(job, 90).status, hub.outcome(job).attempt) == (Status.OK, 1)
    assert [entry["device"] for entry in intervals(workplace)] == ["one"]
    assert hub.outcome(hub.enqueue(queue="cpu", **JOB, time_budget=0.1)).status is Status.OK
    assert first.process.poll() is None


@pytest.mark.slow
def test_a_job_handed_to_a_dead_connection_is_started_within_a_minute(hub, start_worker, workplace, wire):
    worker = start_worker(ARE_REDIS_URL=wire.url)
    wait_for(lambda: any(client["cmd"] == "blmove" for client in hub.connection.client_list()))
    wire.cut()
    job = hub.enqueue(**JOB, time_budget=0.1)
    wait_for(lambda: hub.connection.llen(hub.queue().intermediate_queue_key) == 1)
    handed = time.monotonic()
    wire.mend(lose_connections=True)

    assert hub.outcome(job, timeout_s=60).status is Status.OK
    print(f"started and finished after {time.monotonic() - handed:.1f} s")
    assert len(intervals(workplace)) == 1
    assert worker.process.poll() is None
