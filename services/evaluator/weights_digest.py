"""One digest for a recipe's weights, in its state() and in a checkpoint."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def weights_digest(engine: Any, arrays: Mapping[str, Any]) -> str:
    """SHA-256 of names and numbers, by name."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(engine.to_host(arrays[name])).tobytes())
    return digest.hexdigest()
