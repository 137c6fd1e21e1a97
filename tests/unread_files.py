"""Files on a disk of which no page is in memory, for tests of what is counted when one is read."""

import os
from pathlib import Path

import pytest

from shared.sandbox.pages_read import PagesRead, open_own


def forget(file: Path) -> None:
    """Pages that somebody has mapped stay, as do files of a file system in memory."""
    with open(file, "rb", buffering=0) as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def forget_or_skip(file: Path) -> None:
    """Skips the test where the file stays in memory, or the kernel does not count what is read."""
    forget(file)
    before = _read_by_us()
    with open(file, "rb", buffering=0) as opened:
        os.pread(opened.fileno(), 1, 0)
    if _read_by_us() == before:
        pytest.skip(f"{file} stays in memory, or this kernel does not count what is read")
    forget(file)


def _read_by_us() -> float:
    pages = PagesRead(open_own())
    try:
        return pages.counted()
    finally:
        pages.close()
