"""Filters of system calls as the kernel reads them: straight lists of comparisons, no library.

struct seccomp_data in linux/seccomp.h, instructions of classic BPF in linux/bpf_common.h.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

COLUMN = {"x86_64": 0, "aarch64": 1}
"""which of a system call's two numbers is an architecture's"""
AUDIT_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SECCOMP_SYSCALL = {"x86_64": 317, "aarch64": 277}
_X32_BIT = 0x40000000
_SET_MODE_FILTER = 1

LOAD, AND, RETURN = 0x20, 0x54, 0x06
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45
ALLOW, ERRNO, NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16


def is_supported() -> bool:
    return sys.platform == "linux" and platform.machine() in COLUMN and sys.maxsize > 2**32


def install(code: list[bytes], flags: int) -> int:
    """For this process, for good, inherited. What the kernel returns: 0, or the descriptor that `flags` ask for.

    Needs PR_SET_NO_NEW_PRIVS. OSError when the kernel refuses.
    """
    content = b"".join(code)
    buffer = ctypes.create_string_buffer(content, len(content))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    argument = Program(len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    number = ctypes.c_long(_SECCOMP_SYSCALL[platform.machine()])
    result = libc.syscall(number, ctypes.c_long(_SET_MODE_FILTER), ctypes.c_long(flags), ctypes.byref(argument))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
    return result


def begin(machine: str) -> list[bytes]:
    """Refuses calls of other architectures, and leaves the number of the call to be compared."""
    code = [load(_ARCHITECTURE_OFFSET), *return_unless_equal(AUDIT_ARCHITECTURES[machine], errno.EPERM)]
    code += [load(_NUMBER_OFFSET)]
    if machine == "x86_64":
        code += [jump(AT_LEAST, _X32_BIT, 0, 1), refuse(errno.EPERM)]
    return code


def for_call(number: int, body: list[bytes]) -> list[bytes]:
    """`body`, which may load arguments, and then allowed."""
    return [jump(EQUAL, number, 0, len(body) + 1), *body, instruction(RETURN, ALLOW)]


def return_if_equal(value: int | None, error: int) -> list[bytes]:
    return [] if value is None else [jump(EQUAL, value, 0, 1), refuse(error)]


def return_unless_equal(value: int, error: int) -> list[bytes]:
    return [jump(EQUAL, value, 1, 0), refuse(error)]


def load(offset: int) -> bytes:
    return instruction(LOAD, offset)


def argument(index: int) -> bytes:
    """Low half of a system call's argument (both architectures are little-endian)."""
    return load(_ARGUMENTS_OFFSET + 8 * index)


def refuse(error: int) -> bytes:
    return instruction(RETURN, ERRNO | error)


def jump(test: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("=HBBI", test, if_true, if_false, value)


def instruction(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)
