"""A hub of its own for every test, and workers that are gone when the test is."""

import pytest

from tests.fleet import RedisServer, WorkerProcess


@pytest.fixture
def hub(tmp_path):
    server = RedisServer(tmp_path / "redis")
    yield server
    server.kill()


@pytest.fixture
def start_worker(hub, workplace):
    started = []

    def start(device="cpu", **options) -> WorkerProcess:
        started.append(WorkerProcess(hub, device, **options))
        return started[-1].ready()

    yield start
    for worker in started:
        worker.end()
