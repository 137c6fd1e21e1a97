"""One worker per device of a machine: an OS lock held as long as the worker or a horse of it lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from shared.machine.device_lock import lock_path

DEAD_WORKER_TIMEOUT_S = 5.0  # the horse of a worker that was just killed is gone within milliseconds


@contextmanager
def only_worker(device: str, stack: Path | None = None, timeout_s: float = DEAD_WORKER_TIMEOUT_S) -> Iterator[None]:
    """ValueError when another worker has the device. The horses inherit the lock, so it outlives a killed worker.

    stack: a folder of this stack alone. All stacks of a machine share its device locks and take turns on the device, so
    each of them may have a worker for it.
    """
    path = lock_path(device).with_suffix(".worker")
    path = stack / f".{path.name}" if stack else path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"{device} of this machine has a worker already: end it first, or name another --device"
        ) from None
    try:
        yield
    finally:
        lock.release()
