"""Ports of this machine: which is free? On a Mac, AirPlay has 5000."""

import socket

DEFAULT_MLFLOW_PORT = 5000
TRIES = 20


def is_free(port: int, address: str = "127.0.0.1") -> bool:
    with socket.socket() as probe:
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
