"""Starts a program that dies with its supervisor and, on request, alone in the world. Standard library only.

    python -I -S launcher.py SIGNAL PARENT shared PROGRAM ARGUMENTS...    becomes the program
    python -I -S launcher.py SIGNAL PARENT alone  PROGRAM ARGUMENTS...    runs it in namespaces of its own
    python -I -S launcher.py SIGNAL PARENT alone                          tries whether that is permitted

It runs between fork and the real program, since Python code in a fork of a process with threads is not safe. Only
nursery.py, whose threads never do anything, forks and calls `run_alone` itself.

Alone means: process, mount, IPC and network namespaces of its own, with its own /proc, an empty /dev/shm and no access
times written. This process stays outside and ends as the program ended. Inside a tiny init is process 1; when it
dies, and SIGTERM here kills it, the kernel ends every process of the namespace before this process can see its end.
"""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWNET = 0x00020000, 0x08000000, 0x40000000
_CLONE_NEWUSER, _CLONE_NEWPID = 0x10000000, 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 1 << 14, 1 << 18
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE = 442, -100, 0x8000
_MOUNT_ATTR_NOATIME, _MOUNT_ATTR_ATIME_MASK = 0x10, 0x70

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    by, parent, mode, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    die_with(parent, by)
    if mode == "shared":
        os.execvp(program[0], program)
    run_alone(lambda: os.execvp(program[0], program) if program else None)


def die_with(parent: int, by: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


def run_alone(become: Callable[[], None]) -> None:
    """Never returns. become: what the process inside does, with standard input, output and all descriptors open here;
    when it returns, the process has ended well."""
    _enter_namespaces()
    outcome_read, outcome_write = os.pipe()
    alive_read, alive_write = os.pipe()
    init = 0

    def end(*_: object) -> None:
        if init:
            os.kill(init, signal.SIGKILL)
        else:
            os._exit(1)

    signal.signal(signal.SIGTERM, end)
    init = os.fork()
    if init == 0:
        os.close(alive_write)
        _be_init(become, outcome_write, alive_read)
    _close_all_but(outcome_read, alive_write)
    os.waitpid(init, 0)
    _end_like(os.read(outcome_read, 16))


def _end_like(outcome: bytes) -> None:
    """Ends as the program ended. Without an outcome init was killed: by us, or for want of memory."""
    status = int(outcome or signal.SIGKILL)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError):  # SIGKILL needs no default action
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status))


def _be_init(become: Callable[[], None], outcome: int, alive: int) -> None:
    """Process 1 of the namespace: starts the program, collects orphans, and takes all along when it ends."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if select.select([alive], [], [], 0)[0]:  # whoever started us died before the line above
        os._exit(1)
    _mount_own()
    started = os.fork()
    if started == 0:
        os.setsid()  # a signal to its process group must not reach the processes outside
        become()
        os._exit(0)
    _close_all_but(outcome)
    while True:
        pid, status = os.wait()
        if pid == started:
            os.write(outcome, str(status).encode())
            os._exit(0)


def _enter_namespaces() -> None:
    """OSError where that is not permitted. An ordinary user needs a user namespace of his own for the others."""
    spaces = _CLONE_NEWPID | _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWNET
    user, group = os.getuid(), os.getgid()
    if user == 0:
        _check(_libc.unshare(spaces))
        return
    _check(_libc.unshare(spaces | _CLONE_NEWUSER))
    for name, content in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def _mount_own() -> None:
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    _check(_libc.mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, None))
    _check(_libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=50%,mode=1777"))
    # Reading a library file would leave its access time for a later process to see. Only root may change it.
    attributes = (ctypes.c_uint64 * 4)(_MOUNT_ATTR_NOATIME, _MOUNT_ATTR_ATIME_MASK, 0, 0)
    numbers = (ctypes.c_long(value) for value in (_MOUNT_SETATTR, _AT_FDCWD))
    _libc.syscall(*numbers, b"/", ctypes.c_long(_AT_RECURSIVE), ctypes.byref(attributes), ctypes.c_long(32))


def _close_all_but(*kept: int) -> None:
    """The channel and the output of the program are not for these processes. /proc may already be the namespace's."""
    start = 3
    for descriptor in (*sorted(kept), 1 << 20):
        os.closerange(start, descriptor)
        start = descriptor + 1


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main()
