"""Ports of this machine: which is free? On a Mac, AirPlay has 5000 and 7000."""

import socket
import sys

AIRPLAY = (5000, 7000)
TRIES = 20


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    """Nothing answers on it, on this address or on all of them, and it can be bound."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        # asked first: with SO_REUSEADDR macOS lets us bind an address of a port that AirPlay has on all of them
        if probe.connect_ex((address, port)) == 0:
            return False
    with socket.socket() as probe:
        # without it, as servers bind, the port of a server that ended just now counts as taken for up to a minute
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def free_port_from(first: int, address: str = "127.0.0.1") -> int:
    """ValueError when none of the next ones is free."""
    for port in range(first, first + TRIES):
        if is_free(port, address):
            return port
    raise ValueError(f"none of the ports {first} to {first + TRIES - 1} is free: name another one")


def likely_owner(port: int) -> str:
    """Of a port that is taken, for people."""
    return "AirPlay Receiver" if sys.platform == "darwin" and port in AIRPLAY else "another hub"
