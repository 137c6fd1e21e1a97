"""Counts the system calls of a recipe's process that name or lock a file, and ends them where a limit is set. Those
that start a process can be ended too.

The kernel remembers every name it was asked for, also names of files that do not exist, and answers the same question
faster afterwards: any process of the machine can find out what an earlier one asked for. So the names a process may
ask for, once it knows something, bound what it can leave for others. The process stops at each such call until its
parent has answered (seccomp_unotify(2)): the parent reads no name, it counts.

child:   descriptor = notify()                  last step before a recipe is imported; the descriptor goes to the parent
parent:  with FileNames(descriptor) as names:   answers from a thread of its own
             names.limit(256, alone=True)       from now on
"""

import errno
import fcntl
import os
import platform
import select
import struct
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from shared.sandbox import bpf

# name: (x86_64, aarch64); None where the architecture has no such call. Others that name a file are refused or do
# nothing (seccomp.py).
_CALLS = {
    "open": (2, None),
    "openat": (257, 56),
    "openat2": (437, 437),
    "creat": (85, None),
    "stat": (4, None),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "statx": (332, 291),
    "statfs": (137, 43),
    "access": (21, None),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "execve": (59, 221),
    "execveat": (322, 281),
    "uselib": (134, None),
    "chdir": (80, 49),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "getxattrat": (464, 464),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "listxattrat": (465, 465),
    "file_getattr": (468, 468),
    "inotify_add_watch": (254, 27),
    "name_to_handle_at": (303, 264),
    "bind": (49, 200),
    # names no file, and leaves as much: the kernel keeps a list of locks with every file that was locked once, and
    # locks it faster afterwards
    "flock": (73, 32),
}
_FCNTL = (72, 25)
_LOCKING = (6, 7, 37, 38, 1024)
"""its commands that lock a file: F_SETLK, F_SETLKW, the same of an open file, F_SETLEASE"""
_CLONE = (56, 220)  # with flags that say whether it starts a thread; clone3 does not exist (seccomp.py)
_FORKS = {"fork": (57, None), "vfork": (58, None)}
_CLONE_THREAD = 0x00010000
_FLAG_TSYNC, _FLAG_NEW_LISTENER, _FLAG_TSYNC_ESRCH, _FLAG_WAIT_KILLABLE = 1, 8, 16, 32

# struct seccomp_notif with its seccomp_data, and struct seccomp_notif_resp
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_RESPONSE = struct.Struct("=QqiI")
_CONTINUE = 1
_RECEIVE, _SEND, _SET_FLAGS = 0xC0502100, 0xC0182101, 0x40082104
_WAKE_ON_THIS_CPU = 1
_LOOKS, _LOOK_EVERY_S = 10, 0.002


def notify() -> int:
    """From now on every call that names a file waits for who holds the descriptor that is returned; all threads, and
    inherited.

    The caller hands it to its parent and closes it before it names a file. OSError where the kernel has no such thing
    (before Linux 5.7, gVisor), or somebody counts already.
    """
    if not bpf.is_supported():
        raise OSError(errno.ENOSYS, "calls that name a file are counted on 64-bit Linux only")
    code, flags = program(platform.machine()), _FLAG_TSYNC | _FLAG_TSYNC_ESRCH | _FLAG_NEW_LISTENER
    with suppress(OSError):  # since Linux 5.19: a signal does not repeat a call that is being answered
        return bpf.install(code, flags | _FLAG_WAIT_KILLABLE)
    return bpf.install(code, flags)


def program(machine: str) -> list[bytes]:
    column, notify_parent = bpf.COLUMN[machine], bpf.instruction(bpf.RETURN, bpf.NOTIFY)
    code = bpf.begin(machine)
    for numbers in (_CALLS | _FORKS).values():
        if (number := numbers[column]) is not None:
            code += [bpf.jump(bpf.EQUAL, number, 0, 1), notify_parent]
    locking = [bpf.argument(1)]
    for command in _LOCKING:
        locking += [bpf.jump(bpf.EQUAL, command, 0, 1), notify_parent]
    code += bpf.for_call(_FCNTL[column], locking)
    code += bpf.for_call(_CLONE[column], [bpf.argument(0), bpf.jump(bpf.ANY_BIT, _CLONE_THREAD, 1, 0), notify_parent])
    return [*code, bpf.instruction(bpf.RETURN, bpf.ALLOW)]


class FileNames:
    """The parent's side: lets calls go on, until more were made than allowed; these fail with EPERM.

    A context manager. Without it the calls of the process wait for ever; when it ends they fail with ENOSYS.
    """

    def __init__(self, descriptor: int):
        self.counted = 0
        self.started_processes = False
        """also when this may not be, or cannot be excluded"""
        self._last_call: dict[int, int] = {}
        self._alone = False
        self._descriptor, self._most = descriptor, float("inf")
        self._wake, self._woken = os.pipe()
        self._thread = threading.Thread(target=self._answer_all, name="file names", daemon=True)

    def __enter__(self) -> "FileNames":
        with suppress(OSError):  # since Linux 6.6; only faster
            fcntl.ioctl(self._descriptor, _SET_FLAGS, _WAKE_ON_THIS_CPU)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._woken)
        self._thread.join()
        os.close(self._wake)
        os.close(self._descriptor)

    def limit(self, number: int, *, alone: bool = False) -> None:
        """How many more calls may name a file. A call that was let go on and has not read its name yet is one of them:
        the thread may wait for a processor until there is something to tell. alone: no process may be started."""
        self._most, self._alone = self.counted + number, alone
        unsure = set(self._last_call)
        for _ in range(_LOOKS):
            unsure = set(filter(_may_still_be_under_way, unsure))
            if unsure:
                time.sleep(_LOOK_EVERY_S)
        starting = {thread for thread in unsure if self._last_call[thread] in _starts()}
        self.started_processes = alone and bool(starting)
        self._most -= len(unsure - starting)

    @property
    def exceeded(self) -> bool:
        return self.counted > self._most

    def _answer_all(self) -> None:
        """Until every process of the recipe is gone, or this is closed."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(self._wake, 0)
        while all(happened == select.POLLIN for _, happened in poll.poll()):
            self._answer()

    def _answer(self) -> None:
        asked = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self._descriptor, _RECEIVE, asked)
        except OSError:  # the call was interrupted, or its process killed, before it could be answered
            return
        number, thread, _, call, *_ = _NOTIFICATION.unpack(asked)
        answer = (number, 0, -errno.EPERM, 0) if self._refuses(thread, call) else (number, 0, 0, _CONTINUE)
        with suppress(OSError):
            fcntl.ioctl(self._descriptor, _SEND, _RESPONSE.pack(*answer))

    def _refuses(self, thread: int, call: int) -> bool:
        if self._most == float("inf"):
            self._last_call[thread] = call
        if call in _starts():
            self.started_processes |= self._alone
            return self._alone
        self.counted += 1
        return self.exceeded


def _numbers(*calls: tuple[int | None, int | None]) -> set[int | None]:
    return {numbers[bpf.COLUMN[platform.machine()]] for numbers in calls} - {None}


@cache
def _starts() -> set[int | None]:
    return _numbers(_CLONE, *_FORKS.values())


@cache
def _all() -> set[str]:
    return {str(number) for number in _numbers(*_CALLS.values(), _FCNTL) | _starts()}


def _may_still_be_under_way(thread: int) -> bool:
    """False when it has ended, or sleeps in a call that is not counted. Running may mean waiting for a processor."""
    try:
        call = Path(f"/proc/{thread}/syscall").read_text().split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    except OSError:  # a process may close it to others of its user
        return True
    return call == "running" or call in _all()
