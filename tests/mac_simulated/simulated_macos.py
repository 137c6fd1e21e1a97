"""Inside a simulated Mac: what the project's own modules see of Python, and sandbox-exec's rules.

Imported when Python starts, by the .pth file of the environment that machine.py makes. The standard library and other
packages stay as they are; modules below services/, shared/, kernels/ and compose/ get modules that answer as on macOS.
"""

import builtins
import importlib.machinery
import os
import re
import sys
import time
from pathlib import Path
from types import ModuleType

CHECKOUT = str(Path(__file__).resolve().parents[2])
FOLDERS = ("services", "shared", "kernels", "compose", *(["tests"] if os.environ.get("SIMULATED_MAC_OF_TESTS") else []))
PROJECT = tuple(f"{CHECKOUT}/{folder}/" for folder in FOLDERS)
STANDARD = (os.path.dirname(os.__file__), "<frozen")
STAND_INS = f"{sys.prefix}/stand-ins"
PROFILE = "SIMULATED_SEATBELT_PROFILE"
OTHER_PROCESS = re.compile(r"/proc/(\d+)/(\w+)")

LINUX_ONLY = {
    "os": "sched_getaffinity sched_setaffinity memfd_create pidfd_open unshare setns eventfd splice posix_fadvise "
    "getrandom copy_file_range O_PATH O_TMPFILE MFD_CLOEXEC MFD_ALLOW_SEALING getresuid setresuid",
    "socket": "SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK SO_PEERCRED MSG_CMSG_CLOEXEC",
    "signal": "pidfd_send_signal sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR",
    "select": "epoll",
    "fcntl": "F_ADD_SEALS F_GET_SEALS F_SEAL_SHRINK F_SEAL_GROW F_SEAL_WRITE F_SEAL_SEAL F_SETPIPE_SZ",
    "time": "CLOCK_BOOTTIME CLOCK_TAI",
}
MAC = {
    "sys": {"platform": "darwin"},
    "time": {"CLOCK_UPTIME_RAW": time.CLOCK_MONOTONIC, "CLOCK_MONOTONIC_RAW": time.CLOCK_BOOTTIME},
    "fcntl": {"F_FULLFSYNC": 51},
    "platform": {
        "system": lambda: "Darwin",
        "machine": lambda: "arm64",
        "mac_ver": lambda: ("15.5", ("", "", ""), "arm64"),
        "platform": lambda: "macOS-15.5-arm64-arm-64bit",
        "release": lambda: "24.5.0",
        "processor": lambda: "arm",
    },
}


class Seen(ModuleType):
    """A module of the standard library as a Mac has it. What is set on it, the project sees and nobody else."""

    def __init__(self, real: ModuleType):
        super().__init__(real.__name__)
        hidden = set(LINUX_ONLY.get(real.__name__, "").split())
        object.__setattr__(self, "_parts", (real, hidden, MAC.get(real.__name__, {})))

    def __getattr__(self, name: str):
        real, hidden, mac = object.__getattribute__(self, "_parts")
        if name in hidden:
            raise AttributeError(f"module '{real.__name__}' has no attribute '{name}' on macOS")
        return mac[name] if name in mac else getattr(real, name)


SEEN = {name: Seen(__import__(name)) for name in {*LINUX_ONLY, *MAC}}


def import_as_on_a_mac(name, globals=None, locals=None, fromlist=(), level=0):
    found = builtins.__import__(name, globals, locals, fromlist, level)
    return SEEN[name] if level == 0 and name in SEEN else found


AS_ON_A_MAC = {**vars(builtins), "__import__": import_as_on_a_mac}


class Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str):
        if "runpy" in sys._getframe(1).f_code.co_filename:  # python -m: it runs in __main__, past exec_module
            vars(sys.modules["__main__"])["__builtins__"] = AS_ON_A_MAC
        return super().get_code(fullname)

    def exec_module(self, module: ModuleType) -> None:
        module.__builtins__ = AS_ON_A_MAC
        super().exec_module(module)
        if module.__name__ == "shared.sandbox.seatbelt":
            module.PROGRAM = f"{STAND_INS}/sandbox-exec"


class Finder:
    """Before all others, for the project's own files."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in FOLDERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path or [CHECKOUT])
        if spec and spec.origin and spec.origin.startswith(PROJECT):
            spec.loader = Loader(name, spec.origin)
        return spec


def asked_by_the_project() -> bool:
    frame = sys._getframe(2)
    while frame and (frame.f_code.co_filename.startswith(STANDARD) or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return bool(frame) and frame.f_code.co_filename.startswith(PROJECT)


def is_linux_only(path: object) -> bool:
    return isinstance(path, (str, os.PathLike)) and os.fspath(path).startswith(("/proc", "/sys/", "/dev/shm"))


def without_proc(event: str, arguments: tuple) -> None:
    if event in ("open", "os.listdir", "os.scandir") and is_linux_only(arguments[0]) and asked_by_the_project():
        raise FileNotFoundError(2, "No such file or directory (there is no /proc on macOS)", str(arguments[0]))


def stat_without_proc(real):
    def stat(path, *arguments, **options):
        if is_linux_only(path) and asked_by_the_project():
            raise FileNotFoundError(2, "No such file or directory (there is no /proc on macOS)", str(path))
        return real(path, *arguments, **options)

    return stat


class Seatbelt:
    """The rules of a profile that Python's audit events can show: files, their attributes, other processes by /proc,
    the network. The last match counts."""

    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate")

    def __init__(self, profile: str):
        self.rules = []
        for verb, operations, rest in re.findall(r"^\((allow|deny) ([a-z* -]+)(.*)\)$", profile, flags=re.MULTILINE):
            places = re.findall(r'\(([a-z-]+) "?((?:[^"\\)]|\\.)*)"?\)', rest)
            self.rules += [(verb == "allow", one, places, bool(rest.strip())) for one in operations.split()]

    def allows(self, operation: str, name: str) -> bool:
        verdict = True
        for allow, pattern, places, has_filter in self.rules:
            if not (operation == pattern or (pattern.endswith("*") and operation.startswith(pattern[:-1]))):
                continue
            if not has_filter or any(matches(kind, place, name) for kind, place in places):
                verdict = allow
        return verdict

    def __call__(self, event: str, arguments: tuple) -> None:
        if event == "open" and (other := OTHER_PROCESS.match(str(arguments[0]))) and int(other[1]) != os.getpid():
            secret = other[2] in ("environ", "cmdline")
            self._check(*(("sysctl-read", "kern.procargs2") if secret else ("process-info-pidinfo", "others")))
        elif event == "open" and isinstance(arguments[0], str):
            writes = isinstance(arguments[2], int) and arguments[2] & self.WRITING
            self._check("file-write-data" if writes else "file-read-data", os.path.abspath(arguments[0]))
        elif event in ("os.listdir", "os.scandir") and isinstance(arguments[0], str):
            self._check("file-read-data", os.path.abspath(arguments[0]))
        elif event in ("os.getxattr", "os.listxattr") and isinstance(arguments[0], str):
            self._check("file-read-xattr", os.path.abspath(arguments[0]))
        elif event in self.CHANGES and isinstance(arguments[0], str):
            self._check("file-write-unlink", os.path.abspath(arguments[0]))
        elif event in ("socket.connect", "socket.bind") and isinstance(arguments[1], tuple):
            raise PermissionError(1, "Operation not permitted")

    def _check(self, operation: str, name: str) -> None:
        if not self.allows(operation, name):
            raise PermissionError(1, "Operation not permitted", name)


def matches(kind: str, place: str, name: str) -> bool:
    return name == place or (
        (kind == "subpath" and name.startswith(f"{place}/")) or (kind.endswith("-prefix") and name.startswith(place))
    )


def become() -> None:
    sys.meta_path.insert(0, Finder)
    os.stat, os.lstat = stat_without_proc(os.stat), stat_without_proc(os.lstat)
    sys.addaudithook(without_proc)
    if profile := os.environ.get(PROFILE):
        sys.addaudithook(Seatbelt(profile))


become()
