"""A named pipe that wakes whoever waits for something in a folder, so that looking often is not needed.

What goes through it has no meaning, and a ring that is lost costs time alone: whoever waits also looks by himself.
"""

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def listening(bell: Path) -> Iterator[Callable[[float], None]]:
    """Gives a function that waits so many seconds, or until somebody rings. A ring since the block began counts."""
    with suppress(FileExistsError):
        os.mkfifo(bell)
    descriptor = os.open(bell, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)  # both ends, so that it is never at its end

    def wait(timeout_s: float) -> None:
        if select.select([descriptor], [], [], timeout_s)[0]:
            with suppress(BlockingIOError):  # somebody else who listens was quicker
                os.read(descriptor, 1)  # one ring, for another may be meant for somebody else

    try:
        yield wait
    finally:
        bell.unlink(missing_ok=True)
        os.close(descriptor)


def ring(bell: Path) -> None:
    """Nothing when nobody listens, or when it is no pipe."""
    with suppress(OSError):
        descriptor = os.open(bell, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        try:
            if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                os.write(descriptor, b".")
        finally:
            os.close(descriptor)
