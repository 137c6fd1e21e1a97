"""When a port is free, on Linux and as on a Mac, where SO_REUSEADDR lets a server bind below somebody else's."""

import socket
import sys

import pytest

from shared.machine.ports import free_port_from, is_free


@pytest.fixture(params=["linux", "darwin"], autouse=True)
def platform(request, monkeypatch):
    monkeypatch.setattr(sys, "platform", request.param)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_a_port_on_which_somebody_answers_is_taken_whatever_the_address(address):
    with socket.create_server((address, 0)) as other:
        port = other.getsockname()[1]
        assert not is_free(port)
        assert free_port_from(port) > port


def test_a_port_that_was_bound_and_does_not_answer_yet_is_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        assert not is_free(other.getsockname()[1])


def test_a_port_whose_server_ended_just_now_is_free():
    """Its connections stay for half a minute on a Mac, a minute on Linux: `make hub` after Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    assert is_free(port)
