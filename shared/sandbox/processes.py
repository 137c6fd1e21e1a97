"""Children of a supervisor: started in a session of their own with a scrubbed environment, dead when the
supervisor dies, killed as a whole tree, their output capped. Talking to them: shared/sandbox/channel.py.

    ours, theirs = Channel.pair()
    with start([sys.executable, "-m", "...", str(theirs.fileno())], output=log, env_extra={},
               pass_fds=[theirs.fileno()]) as child:
        theirs.close()
        ours.send({"kind": "go"}, fds=[rows_fd])
        message, fds = ours.receive(timeout_s=60)
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.settings import CHECKOUT, settings

LOG_HEAD_BYTES = LOG_TAIL_BYTES = 1 << 20

_PASSED_NAMES = {"PATH", "LANG", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD"}
_PASSED_NAMES |= {"CC", "CXX", "CPATH", "LIBRARY_PATH", "SDKROOT", "DEVELOPER_DIR"}
_PASSED_NAMES |= {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
_PASSED_PREFIXES = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "VECLIB_", "CUDA_", "TORCH_", "PYTORCH_", "TORCHINDUCTOR_")
_PASSED_PREFIXES += ("GOMP_", "TRITON_", "CUTE_DSL_", "FLASH_ATTENTION_", "MLX_")

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Runs between fork and the real program: preexec_fn would run Python in a fork of a process with threads.
# The parent may have died before prctl was called, hence the second look at getppid.
_LAUNCHER = (
    "import ctypes, os, sys\n"
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, int(sys.argv[1]), 0, 0, 0)\n"
    "os.getppid() == int(sys.argv[2]) or os._exit(1)\n"
    "os.execvp(sys.argv[3], sys.argv[3:])\n"
)

_adopting = False
_started: dict[int, "Child"] = {}


@dataclass
class Child:
    """A started process. As a context manager it leaves no process of its tree behind."""

    process: subprocess.Popen
    log: "CappedLog"
    started_at: float = field(default_factory=time.time)
    oom_kills_before: int | None = field(default_factory=lambda: _oom_kills())
    killed_by_us: bool = False

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.returncode

    def poll(self) -> int | None:
        return self.process.poll()

    def wait(self, timeout_s: float | None = None) -> int:
        """Raises TimeoutError when it still runs after `timeout_s`."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"process {self.pid} still runs after {timeout_s:g} s") from None

    def kill(self) -> None:
        """Ends the whole tree, also after the process itself ended, and completes the output file."""
        kill_tree(self)
        self.log.close()

    def was_oom_killed(self) -> bool:
        """Whether the kernel counted an out-of-memory kill in our cgroup while a SIGKILL ended this child."""
        if self.killed_by_us or self.poll() != -signal.SIGKILL or self.oom_kills_before is None:
            return False
        return (_oom_kills() or 0) > self.oom_kills_before

    def exit_reason(self) -> str:
        if self.was_oom_killed():
            return "killed by the kernel's out-of-memory killer"
        returncode = self.poll()
        return "still running" if returncode is None else exit_reason(returncode, killed_by_us=self.killed_by_us)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def start(
    argv: Sequence[str],
    *,
    output: Path,
    env_extra: Mapping[str, str],
    pass_fds: Iterable[int] = (),
    scratch: Path | None = None,
) -> Child:
    """Starts `argv` in the checkout, in its own session, without stdin.

    stdout and stderr are appended to `output` (capped, see CappedLog). HOME and TMPDIR lie in `scratch`
    (default: the folder `scratch` beside `output`). On Linux the child is killed when the *thread* that calls
    this ends, so call it from the main thread.
    """
    scratch = scratch or output.parent / "scratch"
    environment = child_environment(scratch, env_extra)
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            dies_with_parent(argv),
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            cwd=CHECKOUT,
            env=environment,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    child = Child(process, CappedLog(output, read_end))
    _started[process.pid] = child
    return child


def dies_with_parent(argv: Sequence[str], by: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command that runs `argv` and gets signal `by` when this process dies. On macOS see `exit_with_parent`."""
    if sys.platform != "linux":
        return list(argv)
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(int(by)), str(os.getpid()), *argv]


def child_environment(scratch: Path, extra: Mapping[str, str]) -> dict[str, str]:
    """An allow-list, so that no credential of this shell reaches a recipe. Creates the private directories."""
    home, temporary = scratch / "home", scratch / "tmp"
    for directory in (home, temporary):
        directory.mkdir(parents=True, exist_ok=True)
    passed = {
        name: value for name, value in os.environ.items() if name in _PASSED_NAMES or name.startswith(_PASSED_PREFIXES)
    }
    # NVML and CUDA must count devices in the same order; ARE_* because their defaults follow HOME
    fixed = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    places = {"ARE_HOME": str(settings().home), "ARE_RUNS": str(settings().runs)}
    private = {"HOME": str(home), "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(home / ".cache")}
    return {**passed, **fixed, **places, **private, **extra}


def die_with_parent(parent: int) -> None:
    """For a forked child on Linux: the kernel kills it when `parent` is gone. Elsewhere see `exit_with_parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def exit_with_parent(grace_s: float = 0.0) -> None:
    """For a child on macOS, which has no death signal: a thread that ends the process group when it is orphaned.

    With a grace the process gets SIGTERM first and that long to end its own children.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent != 1:
            time.sleep(0.5)
        if grace_s:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(grace_s)
        os.killpg(0, signal.SIGKILL)

    if sys.platform != "linux":
        threading.Thread(target=watch, name="exit-with-parent", daemon=True).start()


# ending trees


def adopt_orphans() -> None:
    """First line of a supervisor's main: daemons of its children become its own, so kill_tree finds them.

    From then on every child of this process that `start` did not start is taken for such a daemon.
    """
    global _adopting
    if sys.platform == "linux":
        _adopting = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def kill_tree(child: Child, timeout_s: float = 5.0) -> None:
    """SIGKILL for the child, all it started, its session, and orphans adopted from it.

    Everything is stopped first, so nothing forks between looking and killing. Raises TimeoutError with the
    process ids when something survives, which a process inside a device driver can.
    """
    child.killed_by_us = child.killed_by_us or child.poll() is None
    deadline = time.monotonic() + timeout_s
    stopped: set[int] = set()
    while alive := _living_tree(child):
        fresh = alive - stopped
        _signal_all(fresh or alive, signal.SIGSTOP if fresh else signal.SIGKILL)
        stopped |= fresh
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(alive)} survive SIGKILL")
        if not fresh:
            time.sleep(0.005)
    _started.pop(child.pid, None)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _living_tree(child: Child) -> set[int]:
    child.poll()
    parent_of, members = {}, set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if process.status() == psutil.STATUS_ZOMBIE:
                _reap(process.pid)
                continue
            parent_of[process.pid] = process.ppid()
            in_session = os.getsid(process.pid) == child.pid and process.create_time() >= child.started_at - 5
            if in_session or process.pid == child.pid or _is_adopted(process):
                members.add(process.pid)
    while grown := {pid for pid, parent in parent_of.items() if parent in members} - members:
        members |= grown
    return members


def _is_adopted(process: psutil.Process) -> bool:
    return _adopting and process.ppid() == os.getpid() and process.pid not in _started


def _reap(pid: int) -> None:
    """Collects an adopted orphan; Popen collects what `start` started."""
    if _adopting and pid not in _started:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def exit_reason(returncode: int, *, killed_by_us: bool = False) -> str:
    """One line for people: `exit code 1`, `SIGSEGV (Segmentation fault)`, ..."""
    if returncode >= 0:
        return f"exit code {returncode}"
    if killed_by_us:
        return "killed by its supervisor"
    if returncode == -signal.SIGKILL:
        return "SIGKILL not sent by us: often the kernel's out-of-memory killer"
    try:
        return f"{signal.Signals(-returncode).name} ({signal.strsignal(-returncode)})"
    except ValueError:
        return f"signal {-returncode}"


def _oom_kills() -> int | None:
    """Out-of-memory kills in our cgroup so far; None where that is not counted."""
    for file in _oom_counters():
        with suppress(OSError, ValueError):
            words = file.read_text().split()
            return int(words[words.index("oom_kill") + 1])
    return None


def _oom_counters(groups: Path = Path("/proc/self/cgroup"), mounted: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """Of cgroup version 2, then of version 1, where a container sees its own group as the root."""
    if not groups.exists():
        return []
    path_of = {kind: path for _, kind, path in (line.split(":", 2) for line in groups.read_text().splitlines())}
    version2, version1 = (path_of.get(kind, "/").lstrip("/") for kind in ("", "memory"))
    folders = [mounted / "memory" / version1, mounted / "memory"]
    return [mounted / version2 / "memory.events", *(folder / "memory.oom_control" for folder in folders)]


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
        head_left, tail, tail_bytes, left_out = LOG_HEAD_BYTES, deque(), 0, 0
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
