"""The wire between a worker and Redis, for tests: a TCP proxy that can drop everything while both ends stay open.

Nobody is told that a connection is dead, as when a cable is pulled, a laptop changes its network or a router forgets.
"""

import socket
import threading
from contextlib import suppress


class Wire:
    def __init__(self, port: int):
        self.target, self.links = port, []
        self.carrying = threading.Event()
        self.carrying.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"

    def cut(self) -> None:
        """From now on nothing arrives anywhere, not even the end of a connection."""
        self.carrying.clear()

    def mend(self, lose_connections: bool = False) -> None:
        """Packets arrive again, late ones too. With `lose_connections` only those of connections made from now on."""
        if lose_connections:
            for link in self.links:
                link.lost.set()
        self.carrying.set()

    def close(self) -> None:
        self.listener.close()
        self.mend(lose_connections=True)
        for link in self.links:
            link.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.links.append(Link(self, client))


class Link:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket):
        self.wire, self.ends = wire, [client]
        self.lost = threading.Event()
        threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        self.wire.carrying.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.wire.target))
        except OSError:
            client.close()  # Redis is down: refused
            return
        self.ends.append(server)
        threading.Thread(target=self._pump, args=(client, server), daemon=True).start()
        self._pump(server, client)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        """What comes in goes out, or waits, or is lost; likewise the end of the connection."""
        with suppress(OSError):
            while data := self._received(source):
                if self._arrives():
                    sink.sendall(data)
            if self._arrives():
                sink.shutdown(socket.SHUT_WR)

    @staticmethod
    def _received(source: socket.socket) -> bytes:
        try:
            return source.recv(1 << 16)
        except ConnectionError:
            return b""

    def _arrives(self) -> bool:
        self.wire.carrying.wait()
        return not self.lost.is_set()

    def close(self) -> None:
        for end in self.ends:
            end.close()
