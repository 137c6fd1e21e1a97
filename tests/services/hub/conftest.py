"""The hub's queue, once by each kind of server it may find."""

import pytest

from services.hub.queue_program import embedded, find_program
from tests.hubs import HubQueue


def installed():
    program = find_program()
    if program.says.startswith("embedded"):
        pytest.skip("neither redis-server nor valkey-server is installed (apt install redis-server)")
    return program


@pytest.fixture(params=["installed", "embedded"])
def hub(request, tmp_path):
    server = HubQueue(tmp_path / "hub", installed() if request.param == "installed" else embedded("asked for"))
    yield server
    server.kill()


@pytest.fixture
def embedded_hub(tmp_path):
    server = HubQueue(tmp_path / "hub", embedded("asked for"))
    yield server
    server.kill()
