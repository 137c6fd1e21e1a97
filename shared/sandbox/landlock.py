"""Landlock: the kernel refuses every file outside the allowed folders, also to root, for this process and its children.

https://docs.kernel.org/userspace-api/landlock.html; the rights are negotiated with the kernel's ABI. Not denied
by any ABI used here, hence seccomp.py: sockets other than TCP, chmod, utime, truncate by path before ABI 3.
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same numbers on x86_64 and aarch64
_RULE_PATH_BENEATH = 1
_CREATE_RULESET_VERSION = 1
_NEWEST_ABI = 7

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << bit for bit in range(4))
_MAKE_CHAR, _MAKE_BLOCK, _REFER, _TRUNCATE = 1 << 6, 1 << 11, 1 << 13, 1 << 14
_FIRST_RIGHTS = (1 << 13) - 1
# IOCTL_DEV (ABI 5) is left alone: GPUs are driven by ioctl, and only listed devices can be opened
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_TCP_BIND_CONNECT = 0b11
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """Version of the kernel's Landlock, 0 when it has none or it is switched off."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:
        return 0


def restrict(readable: Iterable[Path], writable: Iterable[Path], devices: Iterable[Path] = ()) -> None:
    """Irrevocable. Needs PR_SET_NO_NEW_PRIVS (privileges.drop_privileges) and a process with one thread."""
    version = min(abi(), _NEWEST_ABI)
    handled = _handled_rights(version)
    attributes = _RulesetAttributes(handled, _TCP_BIND_CONNECT, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = _syscall(_CREATE_RULESET, ctypes.byref(attributes), _attributes_size(version), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in writable:
            _allow(ruleset, path, handled & ~(_MAKE_CHAR | _MAKE_BLOCK))
        for path in devices:
            _allow(ruleset, path, (_READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE) & handled)
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _handled_rights(version: int) -> int:
    """What the kernel denies unless a rule allows it."""
    return _FIRST_RIGHTS | (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)


def _attributes_size(version: int) -> int:
    """An older kernel refuses the fields it does not know."""
    return 24 if version >= 6 else 16 if version >= 4 else 8


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not path.is_dir():
            rights &= _FOR_FILES
        rule = _PathBeneath(rights, descriptor)
        _syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)


def _syscall(number: int, *arguments: Any) -> int:
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = _libc.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"Landlock: {os.strerror(error)}")
    return result
