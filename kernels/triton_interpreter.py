"""Triton's interpreter, mended: Triton 3.7 multiplies the bits of bf16 numbers in tl.dot, as if they were integers.

Call `mend` in a process that runs kernels with TRITON_INTERPRET=1; it does nothing elsewhere.
"""

import os
from typing import Any


def mend() -> None:
    """bf16 operands of tl.dot are widened to float32, which is what tensor cores do with them."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        return
    import triton.language as tl
    from triton.runtime import interpreter

    builder = interpreter.InterpreterBuilder
    if getattr(builder.create_dot, "widens_bf16", False):
        return
    plain_dot = builder.create_dot

    def create_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        return plain_dot(self, *(_widened(interpreter, tl, x) for x in (a, b)), *rest)

    create_dot.widens_bf16 = True  # type: ignore[attr-defined]
    builder.create_dot = create_dot


def _widened(interpreter: Any, tl: Any, x: Any) -> Any:
    if x.dtype.scalar != tl.bfloat16:
        return x
    return interpreter.TensorHandle(
        interpreter._convert_float(x.data, tl.bfloat16, tl.float32, None).view("float32"), tl.float32
    )
