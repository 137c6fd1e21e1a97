"""The lines of kernels/promoted.toml, as far as they are about this hardware."""

from kernels import promotion


def promoted_here(hardware_key: str) -> dict[str, str]:
    """{op: kernel}"""
    return {one.op: one.kernel for one in promotion.read() if one.hardware_key == hardware_key}
