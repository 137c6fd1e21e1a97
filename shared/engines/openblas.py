"""OpenBLAS for MLX's CPU back end on Linux, whose own BLAS is the reference one, a tenth as fast or less.

Importing this puts OpenBLAS's symbols where MLX, imported later, looks first. LD_PRELOAD would do the same but
starts threads before the sandbox is entered, which the sandbox refuses.
"""

import ctypes
import sys
from contextlib import suppress

from shared.contracts import Choice

LIBRARY = "libopenblas.so.0"


def _load() -> Choice:
    if sys.platform == "darwin":
        return Choice(what="blas", chosen="accelerate", reason="macOS")
    if "mlx.core" in sys.modules:
        return Choice(what="blas", chosen="reference", reason="mlx was imported before the engine was opened")
    with suppress(OSError):
        ctypes.CDLL(LIBRARY, mode=ctypes.RTLD_GLOBAL)
        return Choice(what="blas", chosen="openblas", reason=f"{LIBRARY} was found")
    reason = f"no {LIBRARY} here: apt install libopenblas0 makes float32 products ten times faster"
    return Choice(what="blas", chosen="reference", reason=reason)


BLAS = _load()
