"""Which server becomes the queue on which machine, and what is said of it."""

from pathlib import Path

import pytest

from services.hub import queue_program
from services.hub.queue_program import find_program


@pytest.fixture
def install(tmp_path, monkeypatch):
    """A machine with no program at all but what is installed here."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def program(name: str, says: str, code: int = 0) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        path.chmod(0o755)
        return path

    return program


def test_an_installed_server_is_preferred(install):
    path = install("valkey-server", "Valkey server v=8.1.0 sha=00000000:0 malloc=jemalloc bits=64")
    assert find_program().path == str(path)
    assert find_program().says == "valkey-server 8.1.0"


def test_without_one_the_embedded_server_is_taken_and_that_is_said(install):
    found = find_program()
    assert found.path.endswith("/valkey-server")
    assert found.says.startswith("embedded Valkey ")
    assert found.says.endswith(": no redis-server and no valkey-server is installed")


def test_one_that_knows_no_access_rules_is_passed_over_and_that_is_said(install):
    install("redis-server", "Redis server v=6.0.16 sha=00000000:0 malloc=jemalloc bits=64")
    install("valkey-server", "cannot load a library", code=1)
    found = find_program()
    assert found.says.startswith("embedded Valkey ")
    assert "redis-server 6.0.16 is older than 7.0" in found.says
    assert "valkey-server is installed but does not run" in found.says


def test_without_any_server_one_line_says_what_to_install(install, monkeypatch):
    monkeypatch.setattr(queue_program, "embedded_path", lambda: None)
    with pytest.raises(ValueError, match="apt install redis-server"):
        find_program()
