"""What NVIDIA's driver says of a GPU while somebody computes on it. A driver may refuse every answer."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def session() -> Iterator[Any]:
    """The module pynvml, initialised. pynvml.NVMLError where there is no driver."""
    import pynvml

    pynvml.nvmlInit()
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def computing_on(uuid: str) -> list[int]:
    """Ids of the processes with a compute context; a driver that does not tell (NotSupported) means none."""
    if sys.platform == "darwin":
        return []
    import pynvml

    with suppress(pynvml.NVMLError), session():
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return sorted({process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)})
    return []


def busy_share(uuid: str) -> float | None:
    """Part of the last sixth of a second (on some devices: second) in which a kernel ran, 0 to 1. None: not told."""
    import pynvml

    with suppress(pynvml.NVMLError), session():
        return pynvml.nvmlDeviceGetUtilizationRates(pynvml.nvmlDeviceGetHandleByUUID(uuid)).gpu / 100
    return None


def computing_since(uuid: str, since_us: int) -> tuple[set[int], int]:
    """Ids of the processes that computed on it since then, and when that was last sampled. Nobody where the driver does
    not tell. since_us: microseconds of the driver's clock, 0 for all that it remembers."""
    import pynvml

    with suppress(pynvml.NVMLError), session():
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        samples = pynvml.nvmlDeviceGetProcessUtilization(handle, since_us)
        latest_us = max([since_us, *(sample.timeStamp for sample in samples)])
        return {sample.pid for sample in samples if sample.smUtil > 0}, latest_us
    return set(), since_us
