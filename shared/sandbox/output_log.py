"""What a child prints, kept in a file without letting it fill the disk."""

import os
import select
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

LOG_HEAD_BYTES = LOG_TAIL_BYTES = 1 << 20


class CappedLog:
    """Copies a pipe into a file from a thread: the first MiB at once, the last MiB when the writers are gone.

    A recipe that prints gigabytes costs a pipe read, not a disk; what was left out is said in between.
    """

    def __init__(self, path: Path, read_end: int):
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - the thread closes it
        self._read_end = read_end
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._copy, name=f"log {path.name}", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Takes what is still in the pipe and completes the file, even when a process still holds the pipe."""
        if self._stop_write >= 0:
            os.close(self._stop_write)
            self._stop_write = -1
        self._thread.join(timeout_s)

    def _copy(self) -> None:
        head_left, tail_bytes, left_out = LOG_HEAD_BYTES, 0, 0
        tail: deque[bytes] = deque()
        while chunk := self._read():
            self._write(chunk[:head_left])
            rest = chunk[head_left:]
            head_left = max(0, head_left - len(chunk))
            tail.append(rest)
            tail_bytes += len(rest)
            while tail_bytes - len(tail[0]) >= LOG_TAIL_BYTES:
                left_out += len(tail[0])
                tail_bytes -= len(tail.popleft())
        if left_out:
            self._write(b"\n[... %d bytes left out ...]\n" % left_out)
        self._write(b"".join(tail))
        self._file.close()
        os.close(self._read_end)
        os.close(self._stop_read)

    def _read(self) -> bytes:
        poller = select.poll()
        poller.register(self._read_end, select.POLLIN)
        poller.register(self._stop_read, select.POLLIN)
        ready = dict(poller.poll())
        if self._read_end not in ready:
            return b""
        return os.read(self._read_end, 1 << 16)

    def _write(self, content: bytes) -> None:
        # a full disk loses the log; the pipe is still emptied, or the experiment would hang
        with suppress(OSError):
            self._file.write(content)
