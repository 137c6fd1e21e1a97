"""A hub of its own for every test, and workers that are gone when the test is."""

import pytest

from tests.fleet import RedisServer, WorkerProcess


@pytest.fixture
def hub(request, tmp_path):
    """Without users; where a file says `HUB = HubQueue`, with users and access rules, as a hub has them."""
    server = getattr(request.module, "HUB", RedisServer)(tmp_path / "hub")
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


@pytest.fixture
def worker(start_worker):
    return start_worker()
