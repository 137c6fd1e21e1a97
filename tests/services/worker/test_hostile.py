"""What somebody who may enqueue can try: nothing but our four functions runs, and the worker goes on."""

import json
import os
import pickle
import zlib

import pytest
from rq import Callback, Queue

from shared.contracts import Status
from tests.fleet import RedisServer, WorkerProcess, wait_for
from tests.recipes import HONEST

GOOD = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "time_budget": 0.1}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    server = RedisServer(tmp_path_factory.mktemp("hub") / "redis")
    yield server
    server.kill()


@pytest.fixture(scope="module")
def worker(hub, prepared_home, tmp_path_factory):
    """One worker lives through all of this."""
    runs = tmp_path_factory.mktemp("runs")
    process = WorkerProcess(hub, ARE_HOME=str(prepared_home), ARE_RUNS=str(runs)).ready()
    yield process
    process.end()


def store_raw(hub, job_id: str, **fields) -> None:
    """What a client can do that does not use RQ at all."""
    base = {"status": "queued", "origin": "cpu", "data": zlib.compress(json.dumps(["x", None, [], {}]).encode())}
    hub.connection.hset(f"rq:job:{job_id}", mapping=base | fields)
    hub.connection.rpush("rq:queue:cpu", job_id)


def still_works(hub, worker) -> bool:
    return hub.outcome(hub.enqueue(**GOOD)).status is Status.OK and worker.process.poll() is None


def call(name="services.worker.jobs.train", instance=None, arguments=(), **kwargs) -> bytes:
    return zlib.compress(json.dumps([name, instance, list(arguments), kwargs]).encode())


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "services.worker.attempt.open_note",
        "services.worker.jobs.conclude",
        "services.worker.jobs",
        "train",
    ],
)
def test_a_function_that_is_not_ours_is_refused(hub, worker, tmp_path, name):
    job = hub.queue().enqueue_call(name, args=(f"touch {tmp_path}/ran",))
    outcome = hub.outcome(job.id)

    assert outcome.status is Status.INVALID
    assert "may not be run here" in outcome.reason
    wait_for(lambda: hub.status(job.id) == "failed")
    assert not (tmp_path / "ran").exists()
    assert still_works(hub, worker)


def test_a_pickled_job_is_refused_without_being_opened(hub, worker, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    store_raw(hub, "pickled", data=zlib.compress(pickle.dumps(("services.worker.jobs.train", Bomb(), (), {}))))
    stock = Queue("cpu", connection=hub.connection).enqueue("services.worker.jobs.train", preset="m5-tiny")

    assert "not JSON" in hub.outcome("pickled").reason
    assert "not JSON" in hub.outcome(stock.id).reason
    assert not (tmp_path / "ran").exists()
    assert still_works(hub, worker)


def test_a_callback_is_refused_with_the_job_that_names_it(hub, worker, tmp_path):
    callback = Callback("os.system")
    job = hub.queue().enqueue(
        "services.worker.jobs.train", kwargs=GOOD, on_success=callback, on_failure=callback, on_stopped=callback
    )
    assert "may not have success_callback_name" in hub.outcome(job.id).reason
    assert still_works(hub, worker)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"seed": "many"}, "seed: Input should be a valid integer"),
        ({"seed": [1]}, "seed"),
        ({"time_budget": "nan"}, "time_budget"),
        ({"preset": "m5-huge"}, "m5-huge"),
        ({"dataset": "../../etc"}, "dataset"),
        ({"target": "h100"}, "h100"),
        ({"device": "cuda:7"}, "device 'cuda:7'"),
        ({"set": "depth=2"}, "set"),
        ({"set": {"depth": {"x": 1}}}, "depth"),
        ({"run_id": "x"}, "unknown argument 'run_id'"),
        ({"recipe": 7}, "recipe"),
        ({"recipe": "def build(:"}, "does not parse"),
        ({"recipe": "#" * 10_000_000}, "larger than"),
        ({"recipe": "#" * 300_000}, "a recipe may have 256 KiB"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_the_outcome_in_one_line(hub, worker, arguments, reason):
    outcome = hub.outcome(hub.enqueue(**GOOD | arguments))
    assert (outcome.status, outcome.result) == (Status.INVALID, None)
    assert reason in outcome.reason
    assert "\n" not in outcome.reason
    assert worker.process.poll() is None


def test_numbers_that_arrive_as_text_are_numbers(hub, worker):
    outcome = hub.outcome(hub.enqueue(**GOOD | {"seed": "3", "time_budget": "0.1", "smoke": "false"}))
    assert outcome.result.seed == 3


@pytest.mark.parametrize(
    ("job_id", "fields"),
    [
        ("a:b", {"data": call()}),
        ("../../etc/passwd", {"data": call()}),
        ("x" * 300, {"data": call()}),
        ("times", {"data": call(), "timeout": "for ever", "created_at": "yesterday", "retries_left": "lots"}),
        ("status", {"data": call(), "status": "glorious"}),
        ("origin", {"data": call(), "origin": b"\xff\xfe"}),
        ("webhook", {"data": call(), "webhooks": json.dumps([{"url": "http://127.0.0.1:1", "events": ["failed"]}])}),
        ("depends", {"data": call(), "dependency_ids": json.dumps(["other"])}),
        ("instance", {"data": call(instance="os")}),
        ("positional", {"data": call(arguments=["recipe.py"])}),
        ("bomb", {"data": zlib.compress(b"[" * 200_000_000, 9)}),
        ("nested-bomb", {"data": zlib.compress(zlib.compress(b"0" * 500_000_000, 9))}),
        ("deep", {"data": zlib.compress(b"[" * 100_000)}),
        ("empty", {"data": b""}),
        ("arguments", {"data": zlib.compress(b'["services.worker.jobs.train", null, [], 7]')}),
    ],
)
def test_whatever_is_in_the_queue_the_worker_goes_on(hub, worker, job_id, fields):
    store_raw(hub, job_id, **fields)
    assert still_works(hub, worker)
    wait_for(lambda: hub.connection.llen("rq:queue:cpu:intermediate") == 0)
    assert hub.status(job_id) in ("queued", "failed", "glorious")  # queued: its id cannot be spoken of


def test_a_job_id_that_is_no_text_does_not_end_the_worker(hub, worker):
    hub.connection.rpush("rq:queue:cpu", b"\xff\x00\xfe")
    assert still_works(hub, worker)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"anything": 1}, "unknown command"),
        ({"command": "promote", "candidate": "rmsnorm/torch_x"}, "unknown command"),
        ({"command": "verify", "candidate": "../../etc"}, "OP or OP/KERNEL"),
        ({"command": "verify", "candidate": "rmsnorm", "source": "x" * 100_000}, "64 KiB"),
        ({"command": "verify", "candidate": "rmsnorm", "memory_mb": "lots"}, "memory_mb"),
    ],
)
def test_a_job_for_the_kernel_lab_that_is_none_is_invalid_with_one_line(hub, worker, arguments, said):
    outcome = hub.outcome(hub.enqueue("lab", **arguments))
    assert outcome.status is Status.INVALID
    assert said in outcome.reason


def test_a_thousand_retries_are_three_attempts(hub, worker):
    store_raw(hub, "eager", data=call(**GOOD), retries_left="1000", retry_intervals="[0]")
    assert hub.outcome("eager").status is Status.OK
    assert int(hub.connection.hget("rq:job:eager", "retries_left")) == 2
