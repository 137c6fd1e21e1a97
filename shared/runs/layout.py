"""Where the arrays of a state lie in one buffer: each group exactly as in a safetensors file, without its header.

The recipe's process copies its arrays into the buffer, and the supervisor writes a group to disk as it is, behind a
header it makes from names, types and shapes that were fixed before training began. It needs no framework for that.
Format: https://huggingface.co/docs/safetensors
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.contracts import Contract

DTYPE_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "BF16": 2, "F16": 2, "I16": 2, "U16": 2}
DTYPE_BYTES |= {"U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
GROUPS = ("model", "optimizer", "rng")
"""of a whole state, and the order of their files"""
MOST_ARRAYS = 100_000
_ALIGNMENT = 64


class ArraySpec(Contract):
    """Name, type and shape of one array."""

    name: Annotated[str, StringConstraints(pattern=r"^[ -~]{1,300}$")]
    dtype: str = Field(pattern=f"^({'|'.join(DTYPE_BYTES)})$")
    """as safetensors names it"""
    shape: tuple[Annotated[int, Field(ge=0, le=2**48)], ...] = Field(max_length=16)

    @property
    def num_bytes(self) -> int:
        return DTYPE_BYTES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True)
class Place:
    """Where an array lies in the buffer."""

    spec: ArraySpec
    offset: int


@dataclass(frozen=True)
class Group:
    """The arrays of one safetensors file, in its order."""

    places: tuple[Place, ...]
    offset: int
    num_bytes: int

    @property
    def header(self) -> bytes:
        """The beginning of the file: the length of the JSON text, the text, blanks up to a multiple of eight."""
        entries = {
            place.spec.name: {
                "dtype": place.spec.dtype,
                "shape": place.spec.shape,
                "data_offsets": [place.offset - self.offset, place.offset - self.offset + place.spec.num_bytes],
            }
            for place in self.places
        }
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text


@dataclass(frozen=True)
class Layout:
    groups: Mapping[str, Group]
    num_bytes: int


def lay_out(specs: Mapping[str, Iterable[ArraySpec]]) -> Layout:
    """One group after the other. ValueError when a name stands twice in a group."""
    groups, end = {}, 0
    for name, arrays in specs.items():
        groups[name] = _group(name, list(arrays), _aligned(end))
        end = groups[name].offset + groups[name].num_bytes
    return Layout(groups, end)


def _group(name: str, arrays: list[ArraySpec], start: int) -> Group:
    if len({spec.name for spec in arrays}) < len(arrays):
        raise ValueError(f"two arrays of {name} have the same name")
    if len(arrays) > MOST_ARRAYS:
        raise ValueError(f"{name} has {len(arrays)} arrays, {MOST_ARRAYS} are the most")
    places, end = [], start
    # the widest types first, so that each array is aligned to its type
    for spec in sorted(arrays, key=lambda spec: (-DTYPE_BYTES[spec.dtype], spec.name)):
        places.append(Place(spec, end))
        end += spec.num_bytes
    return Group(tuple(places), start, end - start)


def _aligned(offset: int) -> int:
    return offset + -offset % _ALIGNMENT
