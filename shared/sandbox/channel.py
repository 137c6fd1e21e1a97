"""Messages between a supervisor and its child: JSON objects, one a line, with open files beside them.

ours, theirs = Channel.pair()
ours.send({"kind": "go"}, fds=[rows.fileno()])
message, fds = theirs.receive(timeout_s=60)
"""

import json
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

from pydantic import BaseModel

MAX_MESSAGE_BYTES = 1 << 20


class ChannelClosed(EOFError):
    """The other end is gone."""


class Channel:
    """JSON objects, one a line, with open files beside them, over a Unix socket pair.

    The peer may be hostile: lines are at most 1 MiB, a message carries at most 8 files, and every wait has an end.
    """

    MAX_FDS = 8

    def __init__(self, connection: socket.socket):
        self._socket = connection
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self._sending = threading.Lock()

    @classmethod
    def pair(cls) -> tuple["Channel", "Channel"]:
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @classmethod
    def from_fd(cls, descriptor: int) -> "Channel":
        """In the child: the end whose number it was given. It is not handed on to the child's own children."""
        os.set_inheritable(descriptor, False)
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())
        self._socket.close()

    def send(self, message: BaseModel | Mapping, fds: Sequence[int] = (), timeout_s: float = 10.0) -> None:
        """ChannelClosed when the peer is gone, TimeoutError when it does not read (the channel is unusable then)."""
        content = message.model_dump(mode="json") if isinstance(message, BaseModel) else dict(message)
        line = json.dumps({"fds": len(fds), "message": content}).encode() + b"\n"
        if len(line) > MAX_MESSAGE_BYTES or len(fds) > self.MAX_FDS:
            raise ValueError(f"message of {len(line)} bytes and {len(fds)} files is too large for a channel")
        with self._sending:
            self._send_line(line, fds, time.monotonic() + timeout_s)

    def _send_line(self, line: bytes, fds: Sequence[int], deadline: float) -> None:
        try:
            self._socket.settimeout(_left(deadline))
            sent = socket.send_fds(self._socket, [line], list(fds)) if fds else self._socket.send(line)
            while sent < len(line):
                self._socket.settimeout(_left(deadline))
                sent += self._socket.send(line[sent:])
        except (BrokenPipeError, ConnectionResetError):
            raise ChannelClosed("the other process closed the channel") from None

    def waiting(self, timeout_s: float) -> bool:
        """Whether something was sent, or the peer is gone, before `timeout_s`: then `receive` has something to say."""
        return b"\n" in self._buffer or bool(select.select([self._socket], [], [], timeout_s)[0])

    def receive(self, timeout_s: float) -> tuple[dict, list[int]]:
        """The next message and its files, which the caller closes.

        TimeoutError keeps the channel usable; ChannelClosed at the end; ValueError for what is not a message.
        """
        deadline = time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) >= MAX_MESSAGE_BYTES:
                raise ValueError(f"the other process sent a line longer than {MAX_MESSAGE_BYTES} bytes")
            self._fill(deadline)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return self._parse(line)

    def _fill(self, deadline: float) -> None:
        self._socket.settimeout(_left(deadline))
        try:
            flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            chunk, fds, _, _ = socket.recv_fds(self._socket, 1 << 16, self.MAX_FDS, flags)
        except ConnectionResetError:
            chunk, fds = b"", []
        self._fds.extend(fds)
        for descriptor in fds:
            os.set_inheritable(descriptor, False)
        if not chunk:
            raise ChannelClosed("the other process closed the channel")
        if len(self._fds) > 4 * self.MAX_FDS:
            raise ValueError("the other process sent more files than messages")
        self._buffer += chunk

    def _parse(self, line: bytes) -> tuple[dict, list[int]]:
        try:
            envelope = json.loads(line)
            message, num_fds = envelope["message"], envelope["fds"]
            valid = isinstance(message, dict) and isinstance(num_fds, int) and 0 <= num_fds <= len(self._fds)
        except (ValueError, KeyError, TypeError, RecursionError):
            valid = False
        if not valid:
            raise ValueError("the other process sent a line that is not a message")
        return message, [self._fds.popleft() for _ in range(num_fds)]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the other process did not answer in time")
    return left
