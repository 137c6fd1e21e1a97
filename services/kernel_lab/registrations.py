"""What a candidate's source registers with torch.library: ops of its own, under names that are no other op's.

A registration holds for the whole process. In the trainer, one under the name of another kernel's op takes that op's
place, and one of a gradient for `aten::relu` takes that of every relu.
"""

import ast
from collections.abc import Iterator
from functools import cache

from kernels import catalog
from services.kernel_lab import torch_names

REGISTERING = frozenset(
    f"torch.library.{name}" for name in ("custom_op", "triton_op", "register_autograd", "register_fake")
)
NAMESPACE = "autoresearch::"


def breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of registrations that are not of this namespace or of a function of this file."""
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    called = {id(call.func) for call, _ in _registrations(tree)}
    for node, path in torch_names.uses(tree):
        if path in REGISTERING and id(node) not in called:
            yield node.lineno, f"hands {path} on, which registers for every op"
    for call, path in _registrations(tree):
        first = call.args[0] if call.args else None
        if _literal(first).startswith(NAMESPACE):
            continue
        is_own = isinstance(first, ast.Name) and first.id in functions
        if not is_own or path in ("torch.library.custom_op", "torch.library.triton_op"):
            yield call.lineno, f"{path} needs a name, written out, that begins with {NAMESPACE}"


def find_foreign(source: bytes, op: str) -> str:
    """One line about a name that a kernel of another op registers; empty when there is none or it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    for line, name in _names(tree):
        owners = _owners().get(name, frozenset())
        if owners and op not in owners:
            return f"line {line}: registers {name}, which is an op of {min(owners)}"
    return ""


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for call, _ in _registrations(tree):
        if call.args and (name := _literal(call.args[0])):
            yield call.lineno, name


def _registrations(tree: ast.AST) -> list[tuple[ast.Call, str]]:
    paths = {id(node): path for node, path in torch_names.uses(tree) if path in REGISTERING}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(call, paths[id(call.func)]) for call in calls if id(call.func) in paths]


def _literal(node: ast.expr | None) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


@cache
def _owners() -> dict[str, frozenset[str]]:
    """{name: the folders of kernels/ that register it}."""
    found: dict[str, frozenset[str]] = {}
    for path in sorted(catalog.KERNELS.glob("*/*.py")):
        for _, name in _names(ast.parse(path.read_bytes())):
            found[name] = found.get(name, frozenset()) | {path.parent.name}
    return found
