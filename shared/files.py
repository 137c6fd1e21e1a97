"""Atomic, durable files: a reader sees the old content or the new, never half, also after a power cut."""

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A full disk names the file that it had no room for: write and fsync do not know it."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_writer(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """A binary file that appears under `path` only when the block ends well. Raises OSError as open/write do.

    durable: it also survives a power cut, which costs the time of a write to the disk
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with naming(path), open(temporary, "wb") as file:
            yield file
            file.flush()
            if durable:
                sync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def write_atomic(path: Path, content: bytes | str) -> None:
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def append_line(path: Path, line: str) -> None:
    """Durable when it returns. What a killed writer left of a line is ended first, so that it costs no other.

    Where two may write at once, they hold a lock.
    """
    is_new = not path.exists()
    with naming(path), open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            file.write(b"" if file.read(1) == b"\n" else b"\n")
        file.write(line.encode() + b"\n")
        file.flush()
        sync(file.fileno())
    if is_new:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Makes renames in `directory` durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with naming(directory):
            sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """What was written survives a power cut. On macOS fsync leaves it in the drive's cache; F_FULLFSYNC does not."""
    if sys.platform == "darwin":
        with suppress(OSError):  # network and some external volumes do not know it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def sha256_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
