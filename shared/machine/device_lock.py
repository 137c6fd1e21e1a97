"""One experiment at a time per device: an OS lock while it runs, and a look at who else computes there.

The lock keeps our own processes apart and is freed when its holder dies; `foreign_processes` sees everybody
else's, before the clock starts and after it stops (an attempt that shared its device is void).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from shared.contracts import Contract
from shared.machine.device import Device, DeviceKind
from shared.machine.hardware import visible_gpus
from shared.machine.nvml import computing_on
from shared.settings import settings

SERVING = (["services", "worker"], ["services", "executor"])
"""what a process is started as that carries out jobs of the queue, or starts those that do"""
QUEUE_OR_OTHER = "let the queue wait for you with `autoresearch submit`, or choose another --device"


class DeviceBusy(ValueError):
    """Says in one line who holds the device and what to do."""


@dataclass(frozen=True)
class ForeignProcess:
    pid: int
    command: str
    user: str = ""

    def __str__(self) -> str:
        whose = f" of {self.user}" if self.user else ""
        return f"process {self.pid}{whose} ({self.command})"


class Holder(Contract):
    """Who holds the device, as it wrote down itself."""

    pid: int
    command: str
    user: str
    is_worker: bool
    """it carries out a job of the queue"""

    def __str__(self) -> str:
        if self.is_worker:
            return f"this machine's worker for a job of the queue (process {self.pid} of {self.user})"
        return f"process {self.pid} of {self.user} ({self.command}), another command of this project"

    @property
    def advice(self) -> str:
        shown = " (`autoresearch status` shows it)" if self.is_worker else ""
        return f"wait until it has ended{shown}, {QUEUE_OR_OTHER}"


@contextmanager
def device_lock(device: str, timeout_s: float = 0.0) -> Iterator[None]:
    """Holds the device (as in Job.device). DeviceBusy when another of our processes has it after `timeout_s`.

    A process that holds it may take it again: a calibration keeps the device between its experiments.
    """
    path = lock_path(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, is_singleton=True)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        raise DeviceBusy(_in_use(device, path)) from None
    try:
        if lock.lock_counter == 1:
            _holder_file(path).write_text(_this_process().model_dump_json())
        yield
    finally:
        if lock.lock_counter == 1:
            _holder_file(path).unlink(missing_ok=True)
        lock.release()


def lock_path(device: str) -> Path:
    return settings().home / "locks" / f"{_physical_name(device)}.lock"


def _physical_name(device: str) -> str:
    """cuda:0 is another GPU under another CUDA_VISIBLE_DEVICES; mps and metal are the same one."""
    asked = Device.parse(device)
    if asked.is_apple:
        return str(DeviceKind.METAL)
    return _uuid(asked) or str(asked).replace(":", "-")


def _uuid(device: Device) -> str | None:
    """Of a CUDA device that is here."""
    gpus = visible_gpus() if device.is_cuda else []
    return gpus[device.index].uuid if device.index < len(gpus) else None


def _holder_file(path: Path) -> Path:
    """Beside the lock, not in it: taking the lock truncates the locked file."""
    return path.with_suffix(".holder")


def _in_use(device: str, path: Path) -> str:
    holder = _written(path)
    if holder is None:
        return f"{device} is in use by another command of this project: wait until it has ended, {QUEUE_OR_OTHER}"
    return f"{device} is in use by {holder}: {holder.advice}"


def holder(device: str) -> Holder | None:
    """None when nobody has the device, or its holder was killed."""
    found = _written(lock_path(device))
    return found if found and psutil.pid_exists(found.pid) else None


def _written(path: Path) -> Holder | None:
    try:
        return Holder.model_validate_json(_holder_file(path).read_bytes())
    except (OSError, ValueError):
        return None


def _this_process() -> Holder:
    me = psutil.Process()
    is_worker = any(map(_serves_the_queue, [me, *me.parents()]))
    return Holder(pid=me.pid, command=_command(me.pid), user=_user(me.pid), is_worker=is_worker)


def _serves_the_queue(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return any(word.split(".")[:2] in SERVING for word in process.cmdline())
    return False


def _command(pid: int) -> str:
    try:
        argv = psutil.Process(pid).cmdline()
    except psutil.Error:
        return "unknown"
    return " ".join(" ".join(argv).split())[:80] or "unknown"


def _user(pid: int) -> str:
    try:
        return psutil.Process(pid).username()
    except psutil.Error:
        return "an unknown user"


def foreign_processes(device: str) -> list[ForeignProcess]:
    """Processes that compute on an NVIDIA device and are not of this process's tree; empty where nobody can tell.

    NVML counts in the host's process ids. Inside a container those name nothing, so strangers are seen only by
    whoever shares the host's process namespace.
    """
    if (uuid := _uuid(Device.parse(device))) is None:
        return []
    ours = own_tree()
    strangers = [pid for pid in computing_on(uuid) if pid not in ours and psutil.pid_exists(pid)]
    return [ForeignProcess(pid, _command(pid), _user(pid)) for pid in strangers]


def check_idle(device: str) -> None:
    """DeviceBusy when somebody else computes on the device now."""
    if foreign := foreign_processes(device):
        names = ", ".join(map(str, foreign[:3]))
        raise DeviceBusy(
            f"{device} is shared with {names}, which took it without its lock: results beside it would be wrong, so "
            "wait until it has ended, ask its owner to end it, or choose another --device"
        )


def own_tree() -> set[int]:
    """Ids of this process and of all that come from it."""
    me = psutil.Process()
    return {me.pid, *(child.pid for child in me.children(recursive=True))}
