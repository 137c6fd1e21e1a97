"""What a Linux process gives up before it is fenced: capabilities, core dumps, the machine's shared memory and network.

/dev/shm outlives a process and is one for all runs, so weights or validation tokens could be left there for the
next one. Where the kernel lets us, the process gets its own, empty, gone with it; elsewhere it gets none.
"""

import ctypes
import os
import resource
from pathlib import Path
from typing import Literal

SHARED_MEMORY = Path("/dev/shm")

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x08000000, 0x10000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 1 << 14, 1 << 18
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def private_shared_memory() -> Literal["private", "none"]:
    """Moves into own mount, IPC and network namespaces with an empty /dev/shm; `none` where that is not permitted."""
    user, group = os.getuid(), os.getgid()
    spaces = _CLONE_NEWNS | _CLONE_NEWIPC | _CLONE_NEWNET
    try:
        if user == 0:
            _check(_libc.unshare(spaces))
        else:
            _check(_libc.unshare(spaces | _CLONE_NEWUSER))
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
            Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        _check(_libc.mount(b"tmpfs", bytes(SHARED_MEMORY), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"size=50%,mode=1777"))
    except OSError:
        return "none"
    return "private"


def drop_privileges() -> None:
    """No capability and no way back to one: root without them is an ordinary user who owns root's files."""
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # refused to ordinary users, who have none to drop
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, nothing))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _check(result: int) -> None:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
