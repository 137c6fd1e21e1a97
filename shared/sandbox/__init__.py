"""The fence around untrusted code in native mode: which files a recipe's process may touch, and that it has no network.

    policy = recipe_policy(CHECKOUT, writable=[scratch], protected=[datasets, runs])
    choice = apply(policy, alone=True)           # in the child, before anything untrusted is imported
    verify(policy, must_fail=[validation_rows])  # the fence is tried, not assumed

Linux fences the running process (landlock.py, seccomp.py, privileges.py), macOS the command line (seatbelt.py, by
`wrap`). What each denies and what not: docs/security.md. Starting and ending such a process: launch.py.
"""

import importlib
import os
import platform
import socket
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from shared.contracts import Choice
from shared.sandbox import bpf, landlock, own_proc, privileges, seatbelt, seccomp
from shared.sandbox.policy import Policy, SandboxKind, recipe_policy

SHARED_MEMORY = Path("/dev/shm")

__all__ = ["Policy", "SandboxKind", "apply", "describe", "recipe_policy", "verify", "wrap"]


def describe() -> Choice:
    """What fences a recipe on this machine and why; `none` is said as loudly."""
    if sys.platform == "darwin":
        return _describe_macos()
    if sys.platform != "linux":
        return _found(SandboxKind.NONE, f"there is no sandbox for {platform.system()}")
    if not bpf.is_supported():
        return _found(SandboxKind.NONE, f"no system call table for {platform.machine()}")
    if (abi := landlock.abi()) < 1:
        return _found(SandboxKind.NONE, "this kernel has no Landlock (Linux 5.13 and lsm=landlock)")
    gap = "" if abi >= 6 else "; signals to other processes are not fenced before ABI 6 (Linux 6.12)"
    return _found(SandboxKind.LINUX, f"Landlock ABI {abi}{gap}")


def _describe_macos() -> Choice:
    if not Path(seatbelt.PROGRAM).exists():
        return _found(SandboxKind.NONE, f"{seatbelt.PROGRAM} is not here")
    if not seatbelt.nests():
        inside = "this process is in a macOS sandbox already, probably its agent's, and these do not nest"
        return _found(SandboxKind.NONE, f"{inside}: use `autoresearch submit` and a worker outside of it")
    return _found(SandboxKind.MACOS, "macOS: weaker than Linux, see docs/security.md")


def _found(kind: SandboxKind, reason: str) -> Choice:
    return Choice(what="sandbox", chosen=kind, reason=reason)


def apply(policy: Policy, *, alone: bool, found: Choice | None = None) -> Choice:
    """Fences this process and all it starts, for good. Says what was done, as `describe` does.

    found: what `describe` said to whoever started this process. A process that `wrap` fenced already would find only
    that macOS's sandboxes do not nest.

    alone: the process was started in namespaces of its own (launcher.py), so /dev/shm is empty and goes with it.
    Otherwise /dev/shm is one for all runs, where weights could be left for the next one, and stays closed.
    On Linux it must run while the process has one thread: Landlock does not reach threads that are already there.
    On macOS the process is already fenced by `wrap`. Where there is no sandbox nothing happens and `none` is returned.
    """
    choice = found or describe()
    if choice.chosen != SandboxKind.LINUX:
        return choice
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("the sandbox must be applied before any thread is started")
    writable = (*policy.writable, SHARED_MEMORY) if alone else policy.writable
    _import_packages(policy)
    privileges.drop_privileges()
    own = [] if policy.gpu else own_proc.hold()
    landlock.restrict((*policy.readable, *own), writable, policy.devices)
    seccomp.restrict(alone=alone, gpu=policy.gpu)
    return choice.model_copy(update={"reason": f"{choice.reason}; shared memory: {'private' if alone else 'none'}"})


def _import_packages(policy: Policy) -> None:
    """Packages that are readable in a folder that is not: Python finds a package by listing the folder around it."""
    for path in policy.readable:
        if (path / "__init__.py").is_file() and str(path.parent) in sys.path and path.parent not in policy.readable:
            importlib.import_module(path.name)


def wrap(argv: Sequence[str], policy: Policy) -> list[str]:
    """The command that runs `argv` fenced: through sandbox-exec on macOS, unchanged where `apply` does it."""
    return seatbelt.wrap(argv, policy) if describe().chosen == SandboxKind.MACOS else list(argv)


def verify(policy: Policy, must_fail: Iterable[Path]) -> None:
    """Tries what the fence must stop. RuntimeError names the first thing that worked, or could not be tried."""
    for path in must_fail:
        for name in _names_of(path):
            _expect_denied(f"reading {name}", partial(_read, name))
    outside = Path("/tmp")
    if not any(outside.resolve().is_relative_to(allowed) for allowed in policy.writable):
        _expect_denied("writing to /tmp", lambda: _write(outside / f".are-fence-{os.getpid()}"))
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        _expect_denied("the network", partial(_connect, kind))
    _expect_no_open_file(must_fail)


def _names_of(path: Path) -> list[Path]:
    """Of a file on another volume of a Mac the second name leads nowhere, which no fence could refuse."""
    if sys.platform != "darwin":
        return [path]
    first, *others = seatbelt.spellings(path)
    return [first, *filter(os.path.lexists, others)]


def _expect_denied(what: str, attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except PermissionError:
        return
    except OSError as error:
        raise RuntimeError(f"the sandbox could not be proved: {what} failed with {error}, not with a refusal") from None
    raise RuntimeError(f"the sandbox does not hold: {what} worked")


def _read(path: Path) -> None:
    if path.is_dir():
        os.listdir(path)
    else:
        os.close(os.open(path, os.O_RDONLY))


def _write(path: Path) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    path.unlink()


def _connect(kind: int) -> None:
    with socket.socket(socket.AF_INET, kind) as connection:
        connection.settimeout(1)
        connection.connect(("127.0.0.1", 9))


def _expect_no_open_file(paths: Iterable[Path]) -> None:
    """A file opened before the fence stays readable, so none of `paths` may be open."""
    if not Path("/proc/self/fd").is_dir():
        return
    forbidden = {str(path.resolve()) for path in paths}
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue
        if target in forbidden:
            raise RuntimeError(f"the sandbox does not hold: {target} is open as descriptor {descriptor}")
