"""Copying a folder that an untrusted process owns and still writes to, without being led anywhere else by it.

Only folders and regular files, each opened by its name in a folder that is open already, never through a link. What is
copied may be garbage. It cannot be anything that the process could not have written itself.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

PIECE_BYTES = 1 << 20
DEEPEST = 12
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class Refused(Exception):
    """The folder holds what is not copied, or too much of it; the message says which."""


@dataclass
class Copying:
    """What may still be copied, and what was. deadline: seconds of the monotonic clock."""

    entries_left: int
    bytes_left: int
    deadline: float
    num_files: int = 0
    num_bytes: int = 0

    def enter(self) -> None:
        self.entries_left -= 1
        if self.entries_left < 0:
            raise Refused("it holds too many files")
        self.in_time()

    def in_time(self) -> None:
        if monotonic() > self.deadline:
            raise Refused("copying it takes too long")

    def take(self, num_bytes: int) -> None:
        self.bytes_left -= num_bytes
        self.num_bytes += num_bytes
        if self.bytes_left < 0:
            raise Refused("it holds too much")
        self.in_time()


def copy_folder(source: int, target: Path, copying: Copying) -> None:
    """Copies the open folder `source` into `target`, which is made. All of it is in our own files when it returns.

    Refused leaves a part of it in `target`.
    """
    _copy_folder(source, target, copying, depth=0)


def _copy_folder(source: int, target: Path, copying: Copying, depth: int) -> None:
    if depth > DEEPEST:
        raise Refused("its folders are too deep")
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            copying.enter()
            _copy_entry(source, entry.name, target / entry.name, copying, depth)


def _copy_entry(folder: int, name: str, target: Path, copying: Copying, depth: int) -> None:
    with _opened(folder, name) as descriptor:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            _copy_folder(descriptor, target, copying, depth + 1)
        elif not stat.S_ISREG(found.st_mode):
            raise Refused("something in it is neither a file nor a folder")
        elif found.st_nlink != 1:
            raise Refused("a file in it has a second name")
        else:
            _copy_file(descriptor, found.st_size, target, copying)


@contextmanager
def _opened(folder: int, name: str) -> Iterator[int]:
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    except OSError as error:  # a link, a socket, or gone since it was listed
        raise Refused(f"something in it cannot be opened: {error.strerror}") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _copy_file(descriptor: int, size: int, target: Path, copying: Copying) -> None:
    """As long as it was when it was opened, so that one that grows meanwhile comes to an end."""
    copying.take(size)
    with open(target, "xb") as file:
        while size:
            piece = os.read(descriptor, min(size, PIECE_BYTES))
            if not piece:
                raise Refused("a file in it became shorter")
            file.write(piece)
            size -= len(piece)
            copying.in_time()
    copying.num_files += 1
