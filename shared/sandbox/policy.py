"""What a fenced process may read and write. A list of what is allowed: everything else is denied."""

import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from shared.contracts import Contract


class SandboxKind(StrEnum):
    """What can stand between a recipe and this machine, as a record names it."""

    LINUX = "landlock+seccomp"
    MACOS = "seatbelt"
    NONE = "none"


# not /usr/share: manuals and word lists are text that a recipe could train on before its clock starts
_SYSTEM: tuple[str, ...] = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/bin",
    "/usr/sbin",
    "/usr/include",
)
_SYSTEM += ("/usr/local", "/usr/share/zoneinfo", "/usr/share/nvidia", "/usr/share/vulkan", "/usr/share/glvnd")
_SYSTEM += ("/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/opt/cuda", "/opt/nvidia")
# not /sys/kernel or /sys/firmware: their root-only files stay closed to a recipe that runs as root
_SYSTEM += ("/sys/devices", "/sys/bus", "/sys/class", "/sys/dev", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm")
_MACOS = ("/System", "/Library", "/private/etc", "/private/var/db", "/opt/homebrew")
# not all of /etc: root reads /etc/shadow
_ETC: tuple[str, ...] = (
    "ld.so.*",
    "localtime",
    "timezone",
    "passwd",
    "group",
    "nsswitch.conf",
    "alternatives",
    "os-release",
)
_ETC += ("python3*", "nvidia*", "OpenCL", "vulkan", "machine-id")
# of the machine, beside what own_proc.py lists; not what counts or ranks pages of memory, for the next process to find
_PROC = ("cpuinfo", "meminfo", "stat", "loadavg", "uptime", "version", "filesystems", "cgroups", "cmdline", "sys")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_GPU_DEVICES = ("nvidia*", "dri", "kfd")
_OURS = ("services", "kernels", "shared")


class Policy(Contract):
    readable: tuple[Path, ...]
    """files and whole folders, executable too"""
    writable: tuple[Path, ...]
    """readable too"""
    devices: tuple[Path, ...] = ()
    """opened for reading and writing, nothing created among them"""
    protected: tuple[Path, ...] = ()
    """closed but for what the fields above name inside; only the macOS profile needs to be told"""
    gpu: bool = True
    """GPUs may be opened. Their drivers need nobody knows what of /proc, which is open then; else see own_proc.py"""


def recipe_policy(
    checkout: Path,
    writable: Iterable[Path],
    extra_readable: Iterable[Path] = (),
    protected: Iterable[Path] = (),
    *,
    gpu: bool = True,
) -> Policy:
    """What Python with torch or mlx needs, and nothing of the person who runs it.

    gpu: whether GPUs may be opened. A run on the CPU that trained on one would be ranked among those of the CPU.

    ValueError when a path that must be `protected` (datasets, corpora, the root of runs) would be readable. A
    named path inside a protected one is fine: that is how a run gets its own directory. Name the recipe's file too:
    torch.compile reads the source it compiles.
    """
    checkout = checkout.resolve()
    protected = tuple(path.resolve() for path in protected)
    named = _existing([*writable, *extra_readable])
    writable = _existing(writable)
    found = _existing([*map(Path, _SYSTEM + (_MACOS if sys.platform == "darwin" else ())), *_etc()])
    found += _existing([Path("/proc")] if gpu else [Path("/proc") / name for name in _PROC])
    found += [checkout / folder for folder in _OURS if (checkout / folder).is_dir()]
    found += [path for path in _python_paths() if not _too_wide(path, checkout)]
    for path in (*found, *named):
        for secret in protected:
            if secret.is_relative_to(path) or (path.is_relative_to(secret) and path not in named):
                raise ValueError(f"{secret} must stay out of a recipe's reach but {path} is readable: move one of them")
    readable = tuple(dict.fromkeys(path for path in (*found, *named) if path not in writable))
    devices = tuple(_devices(gpu))
    return Policy(readable=readable, writable=tuple(writable), devices=devices, protected=protected, gpu=gpu)


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [Path(path).resolve() for path in paths if os.path.exists(path)]


def _etc() -> list[Path]:
    return [path for pattern in _ETC for path in Path("/etc").glob(pattern)]


def _python_paths() -> list[Path]:
    """The interpreter, its packages, and libraries the environment names."""
    named = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path]
    named += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    named += [os.environ.get(name, "") for name in ("CUDA_HOME", "CUDA_PATH", "LD_PRELOAD")]
    return list(dict.fromkeys(_existing(Path(path) for path in named if path and path != ".")))


def _too_wide(path: Path, checkout: Path) -> bool:
    """The working directory is on sys.path; it and the folders around homes are no package folders."""
    wide = [checkout, Path.cwd(), Path("/tmp"), Path("/var/tmp")]
    with suppress(KeyError):  # a container's uid has no entry
        wide.append(Path(pwd.getpwuid(os.getuid()).pw_dir))  # HOME is already the private one
    return any(place.resolve().is_relative_to(path) for place in wide)


def _devices(gpu: bool) -> list[Path]:
    if not gpu:
        return _present(_DEVICES)
    if Path("/dev/nvidiactl").exists() and not Path("/dev/nvidia-uvm").exists() and shutil.which("nvidia-modprobe"):
        # CUDA creates it at first use through a setuid program, which the fenced process cannot run
        subprocess.run(["nvidia-modprobe", "-u", "-c=0"], check=False)
    return _present(_DEVICES + _GPU_DEVICES)


def _present(patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in Path("/dev").glob(pattern)]
