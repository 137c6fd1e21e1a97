"""The whole hub as a person starts it: `autoresearch hub`, MLflow included."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from services.hub.__main__ import advice_for
from tests.fleet import RedisServer, WorkerProcess, free_port, wait_for

AUTORESEARCH = str(Path(sys.executable).with_name("autoresearch"))


class WholeHub(RedisServer):
    """With its own .env; `connection` is the worker's."""

    def __init__(self, folder: Path, **env: str):
        self.folder, self.port, mlflow_port = folder, free_port(), free_port()
        self.env_file = folder / ".env"
        self.env = {**os.environ, "ARE_ENV_FILE": str(self.env_file), **env}
        ports = [f"--redis-port={self.port}", f"--mlflow-port={mlflow_port}"]
        self.argv = [AUTORESEARCH, "hub", *ports, "--data", str(folder / "data")]
        self.start()

    def start(self) -> None:
        with open(self.folder / "hub.log", "wb") as log:
            self.process = subprocess.Popen(self.argv, env=self.env, stdout=log, stderr=log, cwd=self.folder)
        wait_for(lambda: "next:" in self.output() or self.process.poll() is not None, 120)
        assert self.process.poll() is None, self.output()
        self.url = self.secret("ARE_WORKER_REDIS_URL")

    def output(self) -> str:
        return (self.folder / "hub.log").read_text()

    def secret(self, name: str) -> str:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())[name]

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(30)

    def servers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def start_hub(tmp_path, workplace):
    hubs = []

    def start(**env: str) -> WholeHub:
        hubs.append(WholeHub(tmp_path, **env))
        return hubs[-1]

    yield start
    for hub in hubs:
        hub.kill()


@pytest.mark.slow
def test_it_prints_the_page_that_shows_val_bpb(start_hub):
    hub = start_hub()
    page = wait_for(lambda: re.search(r"runs on \w+: (http://\S+)/#/experiments/\d+/runs\?(\S+)", hub.output()), 60)
    assert page[1] == hub.secret("ARE_TRACKING_URI")
    assert "viewStateShareKey=autoresearch" in page[2]


def test_a_hub_starts_and_ends_as_one_and_says_what_it_runs(start_hub):
    hub = start_hub()
    assert f"queue      127.0.0.1:{hub.port}  (" in hub.output()
    servers = hub.servers()
    assert hub.end() == 0
    assert len(servers) >= 2
    assert not any(server.is_running() for server in servers)


@pytest.mark.slow
def test_nothing_is_left_of_a_hub_that_was_killed(start_hub):
    hub = start_hub()
    servers = hub.servers()
    hub.kill()
    psutil.wait_procs(servers, timeout=20)
    assert not any(server.is_running() for server in servers)


@pytest.mark.slow
def test_a_hub_ends_when_one_of_its_servers_does_and_takes_the_other_with_it(start_hub):
    hub = start_hub()
    servers = hub.servers()
    next(server for server in servers if "mlflow" in server.cmdline()).kill()
    assert hub.process.wait(30) == 2
    assert "hub: mlflow ended with code -9, so the hub stops: see " in hub.output()
    psutil.wait_procs(servers, timeout=5)
    assert not any(server.is_running() for server in servers)


@pytest.mark.slow
def test_a_hub_without_redis_says_so_and_works_and_keeps_jobs_over_a_restart(start_hub, workplace):
    hub = start_hub(PATH=str(Path(sys.executable).parent))
    assert "(embedded Valkey " in hub.output()
    assert "no redis-server and no valkey-server is installed)" in hub.output()

    enqueue = [sys.executable, "-m", "rq.cli", "enqueue", "-S", "json", "-q", "cpu", "--job-id", "kept"]
    enqueue += ["services.worker.jobs.train", "preset=m5-tiny", "dataset=words", "time_budget=0.2"]
    env = {**os.environ, "RQ_REDIS_URL": hub.secret("RQ_REDIS_URL")}
    subprocess.run(enqueue, env=env, check=True, capture_output=True, timeout=30)
    assert hub.end() == 0

    hub.start()
    worker = WorkerProcess(hub).ready()
    try:
        assert hub.outcome("kept").status == "ok"
    finally:
        worker.end()


def test_a_place_that_cannot_be_written_is_one_line_with_what_to_set(tmp_path):
    """As in a checkout that is read-only; root may write everywhere, but not here."""
    environment = {**os.environ, "ARE_ENV_FILE": "/proc/1/.env"}
    done = subprocess.run(
        [AUTORESEARCH, "hub", "--data", str(tmp_path)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hub: ")
    assert "ARE_ENV_FILE" in advice_for(OSError(errno.EROFS, "Read-only file system"))
