"""Bytes of what goes by an index: a lookup reads the rows that it asks for, a sum by index changes the rows it adds to.

Never more than the whole array, once: rows that are asked for again come from a cache. A number that is added to is
read and written, one that is replaced is only written.
"""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import torch
from torch._inductor.dependencies import MemoryDep
from torch._inductor.scheduler import BaseSchedulerNode, SchedulerNode
from torch._inductor.virtualized import V

from kernels.op_cost import bytes_of, stored_bytes

LOOKUPS = {"embedding", "index", "index_select", "gather", "take"}
"""their first argument is the table"""
SUMS = {"index_put", "index_add", "scatter_add"}
REPLACEMENTS = {"index_copy", "scatter"}
"""their first argument is what they change"""
GRADIENT = "embedding_dense_backward"
"""fills its result with zeros, and adds to that"""


def scheduled_bytes(node: BaseSchedulerNode) -> int:
    """Of one kernel that the compiler wrote: its own count of whole buffers, but of those by index what is reached. A
    buffer that the kernel also takes in order counts whole."""
    whole = node.get_read_write_buffer_accesses(include_reads=True, include_writes=True)
    members = [one for one in node.get_nodes() if isinstance(one, SchedulerNode)]
    accesses = [dep for member in members for dep in _accesses(member)]
    in_order = {dep.name for dep in accesses if not dep.is_indirect()}
    reached = _reached(members)
    summed = {dep.name for dep in accesses if dep.is_indirect() and dep.mode == "atomic_add"}
    same_memory = _changed_under_another_name(members) - set(reached)
    moved = 0
    for name, size in whole.items():
        if name in in_order:
            moved += size
        elif name in reached:
            moved += min(reached[name], size) * (2 if name in summed else 1)
        elif name not in same_memory:
            moved += size
    return moved


def _accesses(member: SchedulerNode) -> Iterator[MemoryDep]:
    for dep in (*member.read_writes.reads, *member.read_writes.writes):
        if isinstance(dep, MemoryDep):
            yield dep


def _reached(members: Iterable[SchedulerNode]) -> dict[str, int]:
    """{buffer: bytes of its numbers that are looked up or changed}. What several lines of a kernel look up is read
    once."""
    most: dict[str, int] = {}
    for member in members:
        here: dict[str, int] = {}
        for dep in _accesses(member):
            if dep.is_indirect():
                size = V.graph.get_dtype(dep.name).itemsize * _numbers(dep, member)
                here[dep.name] = here.get(dep.name, 0) + size
        most |= {name: max(size, most.get(name, 0)) for name, size in here.items()}
    return most


def _numbers(dep: MemoryDep, member: SchedulerNode) -> int:
    """How many an access by index reaches: one for each turn of the loops in its address, but never fewer than there
    are indices. The compiler leaves out loops at the end on which only the index depends."""
    direct = [one for one in _accesses(member) if not one.is_indirect()]
    indices = [_turns(one.size) for one in direct if V.graph.get_dtype(one.name) in (torch.int64, torch.int32)]
    if not indices and not dep.size:
        return _turns([length for lengths in member.get_ranges() for length in lengths])
    return max(_turns(dep.size), *indices, 1)


def _turns(lengths: Iterable[Any]) -> int:
    return prod(int(V.graph.sizevars.optimization_hint(length, fallback=0)) for length in lengths)


def _changed_under_another_name(members: Iterable[SchedulerNode]) -> set[str]:
    """What a change by index writes to has a name of before and one of after; only one of them is counted. That of
    before is only told for the order of kernels."""
    changing = [
        one
        for one in members
        if any(isinstance(dep, MemoryDep) and dep.is_indirect() for dep in one.read_writes.writes)
    ]
    return {dep.name for one in changing for dep in one.read_writes.reads if not isinstance(dep, MemoryDep)}


def is_by_index(name: str) -> bool:
    return _base(name) in LOOKUPS | SUMS | REPLACEMENTS | {GRADIENT}


def op_bytes(name: str, arguments: tuple[Any, ...], named: dict[str, Any], result: Any) -> int:
    """Of one op that is not compiled, or that the compiler leaves to a library. A name that ends with _ changes its
    first argument; another copies it first."""
    base, table, rest = _base(name), arguments[0], [*arguments[1:], *named.values()]
    if base in LOOKUPS:
        return min(stored_bytes(table), bytes_of([result])) + bytes_of(rest) + bytes_of([result])
    if base == GRADIENT:
        return stored_bytes(result) + 2 * min(stored_bytes(table), stored_bytes(result)) + bytes_of([table, *rest])
    copied = 0 if name.endswith("_") else stored_bytes(table) + bytes_of([result])
    changed = min(table.element_size() * _changed(base, arguments), stored_bytes(table))
    is_sum = base in SUMS and not (base == "index_put" and not _accumulates(arguments, named))
    return copied + changed * (2 if is_sum else 1) + bytes_of(rest)


def _base(name: str) -> str:
    return name.removeprefix("_unsafe_").removesuffix("_")


def _accumulates(arguments: tuple[Any, ...], named: dict[str, Any]) -> bool:
    return bool(arguments[3] if len(arguments) > 3 else named.get("accumulate", False))


def _changed(base: str, arguments: tuple[Any, ...]) -> int:
    """Numbers of the first argument that are changed."""
    if base == "index_put":
        table, indices = arguments[:2]
        found = [one for one in indices if one is not None]
        if any(one.dtype in (torch.bool, torch.uint8) for one in found):
            return table.numel()
        rest = [n for n, one in zip(table.shape, (*indices, *[None] * table.dim()), strict=False) if one is None]
        return prod(torch.broadcast_shapes(*(one.shape for one in found))) * prod(rest)
    return arguments[2].numel() if base.startswith("scatter") else arguments[3].numel()
