"""Which op a kernel computes, read from where the lines of its graph come from. For tables; it decides nothing."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.fx import Node

_FRAME = re.compile(r'File "([^"]+)", line \d+, in (\S+)')
_OP = re.compile(r"/kernels/([a-z0-9_]+)/[a-z0-9_]+\.py$")
RECIPE = "recipe.py"
MOST_NAMED = 4


def op_of(nodes: Iterable[Node]) -> str:
    """The ops of kernels/ that these lines belong to, joined by +; else the part of the model, else the function."""
    nodes = list(nodes)
    frames = [_FRAME.findall(node.meta.get("stack_trace") or "") for node in nodes]
    for named in (map(_kernel_folder, frames), map(_part, nodes), map(_recipe_function, frames)):
        if names := sorted({name for name in named if name}):
            return "+".join(names[:MOST_NAMED]) + ("+..." if len(names) > MOST_NAMED else "")
    return "other"


def calling_function() -> str:
    """The recipe's function that this code was called from."""
    frame = sys._getframe(1)
    while frame is not None and Path(frame.f_code.co_filename).name != RECIPE:
        frame = frame.f_back  # type: ignore[assignment]
    return frame.f_code.co_name if frame is not None else "other"


def _kernel_folder(frames: list[tuple[str, str]]) -> str | None:
    folders = [found[1] for path, _ in reversed(frames) if (found := _OP.search(path))]
    return folders[0] if folders else None


def _recipe_function(frames: list[tuple[str, str]]) -> str | None:
    names = [function for path, function in reversed(frames) if Path(path).name == RECIPE]
    return names[0] if names else None


def _part(node: Node) -> str | None:
    """`attention.q` for the product in blocks.3.attention.q; the layers of a stack count as one."""
    stack: dict[str, Any] = node.meta.get("nn_module_stack") or node.meta.get("fwd_nn_module_stack") or {}
    if not stack:
        return None
    path, _ = list(stack.values())[-1]
    words = [word for word in re.findall(r"[A-Za-z_]\w*", str(path)) if word not in ("L", "self", "_modules")]
    return ".".join(words[-2:]) or None
