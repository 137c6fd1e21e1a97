"""What the fleet relies on in its queue, asked of each kind of server; then a job's whole life in the embedded one."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from services.hub.queue_program import embedded
from tests.fleet import WorkerProcess, wait_for
from tests.hubs import HubQueue
from tests.recipes import HONEST
from tests.services.hub.conftest import installed

AUTORESEARCH = [str(Path(sys.executable).with_name("autoresearch"))]
FAST = ["--target", "cpu", "--preset", "m5-tiny", "--dataset", "words", "--time-budget"]


def test_a_blocking_take_waits_without_work_and_is_answered_at_once(hub):
    taken = []
    server = psutil.Process(hub.process.pid)
    thread = threading.Thread(target=lambda: taken.append(hub.connection.blmove("rq:queue:cpu", "rq:taken", 10)))
    thread.start()
    wait_for(lambda: hub.connection.info("clients")["blocked_clients"])
    before = sum(server.cpu_times()[:2])
    thread.join(0.5)
    assert not taken
    assert sum(server.cpu_times()[:2]) - before < 0.1
    hub.connection.rpush("rq:queue:cpu", "job")
    thread.join(5)
    assert taken == [b"job"]


def test_what_was_acknowledged_is_there_after_a_kill(hub):
    hub.enqueue(job_id="kept")
    begun = hub.store.begin("kept", "execution", "digest")
    hub.kill()
    hub.start()
    assert hub.queue().job_ids == ["kept"]
    assert hub.store.begin("kept", "execution", "digest") == begun


@pytest.mark.parametrize("earlier_first", [True, False], ids=["embedded then installed", "installed then embedded"])
def test_jobs_wait_through_a_change_of_server(tmp_path, earlier_first):
    programs = [embedded("asked for"), installed()]
    first, second = programs if earlier_first else reversed(programs)
    hub = HubQueue(tmp_path / "hub", first)
    try:
        hub.enqueue(job_id="waiting")
        hub.process.terminate()
        hub.process.wait(10)
        hub.program = second
        hub.start()
        assert hub.queue().job_ids == ["waiting"]
    finally:
        hub.kill()


@pytest.fixture
def worker(embedded_hub, workplace):
    process = WorkerProcess(embedded_hub, ARE_REDIS_URL=embedded_hub.worker_url).ready()
    yield process
    process.end()


@pytest.fixture
def autoresearch(embedded_hub, workplace):
    env = {**os.environ, "ARE_ENV_FILE": str(embedded_hub.env_file), "ARE_TRACKING_URI": ""}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run([*AUTORESEARCH, *arguments], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_embedded_queue_serves_the_fleets_commands(autoresearch, embedded_hub, worker):
    (done,) = json.loads(autoresearch("submit", *FAST, "0.2", "--wait", "--json"))["outcomes"]
    assert done["outcome"]["result"]["val_bpb"] > 0
    job = done["job_id"]
    assert job in autoresearch("status")
    autoresearch("requeue", job)
    assert "val_bpb" in autoresearch("wait", job)
    assert embedded_hub.outcome(job).attempt == 2

    long = json.loads(autoresearch("submit", *FAST, "60", "--json"))["jobs"][0]
    wait_for(lambda: embedded_hub.store.progress(long))
    assert "cancelled on request" in autoresearch("cancel", long)
    assert "will stop" in autoresearch("drain", "cpu")
    assert worker.process.wait(10) == 0


def test_doctor_tells_the_embedded_queue_from_others(autoresearch, worker):
    found = json.loads(autoresearch("doctor", "--json"))[0]
    assert (found["what"], found["level"]) == ("queue", "ok")
    assert found["found"].startswith("Valkey ")
    assert "(embedded) at 127.0.0.1" in found["found"]


def test_the_embedded_queue_serves_plain_rq(embedded_hub, worker, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(HONEST)
    rq = [sys.executable, "-m", "rq.cli"]
    env = {**os.environ, "RQ_REDIS_URL": embedded_hub.agent_url}
    enqueue = [*rq, "enqueue", "-S", "json", "-q", "cpu", "--job-id", "plain", "services.worker.jobs.train"]
    arguments = [f"recipe=@{recipe}", "preset=m5-tiny", "dataset=words", "time_budget=0.2"]
    subprocess.run([*enqueue, *arguments], env=env, check=True, capture_output=True, timeout=30)
    assert embedded_hub.outcome("plain").status == "ok"
    wait_for(lambda: embedded_hub.status("plain") == "finished")
    info = subprocess.run([*rq, "info"], env=env, capture_output=True, text=True, timeout=30, check=True)
    assert "1 finished" in info.stdout
