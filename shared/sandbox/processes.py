"""Children of a supervisor: started in a session of their own with a scrubbed environment, dead when the
supervisor dies, ended completely, their output capped. Talking to them: channel.py; a recipe's process: launch.py.

    with start([sys.executable, "-m", "..."], output=log, env_extra={}) as child:
        child.wait(timeout_s=60)
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from shared.machine.births import began_at
from shared.sandbox import ending
from shared.sandbox.ending import Isolation
from shared.sandbox.output_log import CappedLog
from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT, settings

_PASSED_NAMES = {"PATH", "LANG", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD"}
_PASSED_NAMES |= {"CC", "CXX", "CPATH", "LIBRARY_PATH", "SDKROOT", "DEVELOPER_DIR"}
_PASSED_NAMES |= {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"}
_PASSED_PREFIXES: tuple[str, ...] = (
    "LC_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "VECLIB_",
    "CUDA_",
    "TORCH_",
    "PYTORCH_",
    "TORCHINDUCTOR_",
)
_PASSED_PREFIXES += ("GOMP_", "TRITON_", "CUTE_DSL_", "FLASH_ATTENTION_", "MLX_")


@dataclass
class Child:
    """A started process. As a context manager it leaves no process of its tree behind."""

    process: ending.Process
    log: CappedLog
    isolation: Isolation
    oom_kills_before: int | None = field(default_factory=lambda: _oom_kills())
    killed_by_us: bool = False
    began_s: float = field(init=False)
    """shared/machine/births.py"""

    def __post_init__(self) -> None:
        self.began_s = began_at(self.pid)

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
        """Ends the process and all it started, also after it ended itself, and completes the output file.

        TimeoutError when something survives SIGKILL, which a process inside a device driver can.
        """
        self.killed_by_us = self.killed_by_us or self.poll() is None
        ending.end(self.process, self.isolation, self.began_s)
        self.log.close()

    def company(self) -> int:
        """How many processes it started that live, as far as they can be found."""
        return ending.company(self.process, self.isolation, self.began_s)

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
    isolation: Isolation = Isolation.SESSION,
) -> Child:
    """Starts `argv` in the checkout, in its own session, without stdin.

    isolation: what keeps it and its children together; NAMESPACE gives it a world of its own (launcher.py).
    stdout and stderr are appended to `output` (capped, see CappedLog). HOME, TMPDIR and compiled kernels lie in
    `scratch` (default: the folder of that name beside `output`). On Linux the child is killed when the *thread* that
    calls this ends, so call it from the main thread.
    """
    scratch = scratch or output.parent / "scratch"
    environment = child_environment(scratch, env_extra)
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            dies_with_parent(argv, alone=isolation is Isolation.NAMESPACE),
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
    ending.know(process)
    return Child(process, CappedLog(output, read_end), isolation)


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
    # PyTorch sets the first in whoever asks it where compiled kernels lie, and children would inherit that
    private |= {"TORCHINDUCTOR_CACHE_DIR": str(temporary / "inductor"), "TRITON_CACHE_DIR": str(temporary / "triton")}
    return {**passed, **fixed, **places, **private, **extra}


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
