"""What a filter of system calls answers, interpreted: so the architecture that does not run here is tested too."""

import struct

from shared.sandbox import bpf


def verdict(code: list[bytes], machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """The value the filter returns: bpf.ALLOW, bpf.NOTIFY, or bpf.ERRNO with an errno in its low half."""
    architecture = architecture or bpf.AUDIT_ARCHITECTURES[machine]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    position = accumulator = 0
    while True:
        operation, if_true, if_false, value = struct.unpack("=HBBI", code[position])
        position += 1
        if operation == bpf.LOAD:
            (accumulator,) = struct.unpack_from("<I", data, value)
        elif operation == bpf.AND:
            accumulator &= value
        elif operation == bpf.RETURN:
            return value
        else:
            tests = {
                bpf.EQUAL: accumulator == value,
                bpf.AT_LEAST: accumulator >= value,
                bpf.ANY_BIT: bool(accumulator & value),
            }
            position += if_true if tests[operation] else if_false
