"""The most memory that a graph has alive at a time, read from the code that Inductor wrote for it.

That code says when each array is allocated, when it is deleted, and where a kernel writes its result over an argument
that ends there. What a graph is given counts from its start where it ends with the graph: activations that were saved
for backward. Weights and other arguments that outlive the graph do not count.
"""

import ast
from collections.abc import Callable, Iterator, Mapping
from math import prod

import torch
from torch._inductor import ir
from torch._inductor.graph import GraphLowering
from torch._inductor.utils import get_dtype_size


def peak_bytes(graph: GraphLowering, source: str) -> int:
    return peak_of(source, donated(graph), lambda name: _buffer_bytes(graph, name))


def donated(graph: GraphLowering) -> dict[str, int]:
    """Bytes of each argument that ends with the graph."""
    inputs = graph.graph_inputs_original.items()
    return {name: _stored(one.get_layout()) for name, one in inputs if isinstance(one, ir.DonatedBuffer)}


def _buffer_bytes(graph: GraphLowering, name: str) -> int:
    """Of a result that a library or an op allocates; 0 for a tuple of them, whose members have names of their own."""
    buffer = graph.name_to_buffer.get(name)
    return _stored(buffer.layout) if buffer is not None and isinstance(buffer.layout, ir.FixedLayout) else 0


def _stored(layout: ir.Layout) -> int:
    return int(layout.storage_size()) * get_dtype_size(layout.dtype)


def peak_of(source: str, given: Mapping[str, int], size_of: Callable[[str], int]) -> int:
    """`given`: bytes of arguments that end with the graph. `size_of`: of results that an op allocates by itself."""
    owners = {name: name for name in given}
    sizes = dict(given)
    peak = alive = sum(sizes.values())
    for number, line in enumerate(_lines_of_call(source)):
        match line:
            case ast.Delete(targets=targets):
                gone = [owners.pop(one.id, None) for one in targets if isinstance(one, ast.Name)]
                alive -= sum(sizes.pop(one) for one in gone if one in sizes and one not in owners.values())
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if (source_name := _renamed(value)) is not None:
                    if source_name in owners:
                        owners[name] = owners[source_name]
                elif (size := _allocated(value)) is not None or (size := size_of(name)):
                    owners[name] = storage = f"{name} of line {number}"
                    sizes[storage] = size
                    alive += size
                    peak = max(peak, alive)
    return peak


def _lines_of_call(source: str) -> Iterator[ast.stmt]:
    """Statements of `def call(args)`, those inside `with` too, in order."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == "call":
            yield from _flat(node.body)
            return


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for line in body:
        if isinstance(line, ast.With):
            yield from _flat(line.body)
        else:
            yield line


def _renamed(value: ast.expr) -> str | None:
    """`a` in `b = a`, `b = reinterpret_tensor(a, ...)` and `a = copy_if_misaligned(a)`, which has nothing to copy."""
    match value:
        case ast.Name(id=name):
            return name
        case ast.Call(func=ast.Name(id="reinterpret_tensor" | "copy_if_misaligned"), args=[ast.Name(id=name), *_]):
            return name
    return None


def _allocated(value: ast.expr) -> int | None:
    """Bytes of `empty_strided_cuda(size, stride, torch.dtype)`."""
    match value:
        case ast.Call(func=ast.Name(id=function), args=[size, stride, ast.Attribute(attr=dtype)]) if (
            function.startswith("empty_strided")
        ):
            return get_dtype_size(getattr(torch, dtype)) * _elements(ast.literal_eval(size), ast.literal_eval(stride))
    return None


def _elements(size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    if not prod(size):
        return 0
    return 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
