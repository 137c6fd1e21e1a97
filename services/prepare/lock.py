"""One writer per directory, and no leftovers of a writer that was killed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from services.prepare.report import Report


@contextmanager
def writer_lock(path: Path, *folders: Path, report: Report) -> Iterator[None]:
    """Held by the one process that writes `path` and `folders`; the OS frees it when that process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.parent / f".{path.name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report.say(f"waiting: another process writes {path}")
        lock.acquire()
    try:
        for folder in (path, *folders):
            for leftover in folder.glob(".*.tmp"):
                leftover.unlink()
        yield
    finally:
        lock.release()
