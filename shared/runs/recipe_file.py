"""A recipe as a file: its size is limited at every door, because a larger one carries weights or validation text."""

import lzma
from collections.abc import Iterable
from pathlib import Path

from shared.contracts import LARGEST_RECIPE_BYTES

MOST_COMPRESSED_BYTES = 32 * 1024
"""six times the shipped recipe's; data in a source would be known without training"""
_COMPRESSION = ({"id": lzma.FILTER_LZMA2, "preset": 9},)


class InvalidRecipe(ValueError):
    """The recipe does not keep the protocol; the message is one line for its author."""


def check_size(num_bytes: int, name: str) -> None:
    """Asked at every door through which a recipe comes: larger ones carry weights. InvalidRecipe, one line."""
    if num_bytes > LARGEST_RECIPE_BYTES:
        size = f"{num_bytes / 1024:,.1f}"
        raise InvalidRecipe(f"{name} has {size} KiB, a recipe may have {LARGEST_RECIPE_BYTES >> 10} KiB")


def compressed_bytes(source: bytes) -> int:
    """What the source can know at most, however it is written: nothing random becomes shorter."""
    return len(lzma.compress(source, format=lzma.FORMAT_RAW, filters=_COMPRESSION))


def added_bytes(source: bytes, known: Iterable[bytes]) -> int:
    """What it can know beyond the one of the known sources that is most like it: nothing that stands there is new."""
    return min(compressed_bytes(base + source) - compressed_bytes(base) for base in known)


def check_knowledge(source: bytes, name: str) -> None:
    """Asked at every door through which a recipe comes into this system. InvalidRecipe, one line."""
    check_size(len(source), name)
    if (num_bytes := compressed_bytes(source)) > MOST_COMPRESSED_BYTES:
        size, most = f"{num_bytes / 1024:,.1f}", MOST_COMPRESSED_BYTES >> 10
        raise InvalidRecipe(f"{name} has {size} KiB compressed, a recipe may have {most} KiB: leave data out of it")


def read_source(path: Path) -> bytes:
    """The file's content, of which no more is read than a recipe may have. InvalidRecipe when there is more."""
    with open(path, "rb") as file:
        source = file.read(LARGEST_RECIPE_BYTES + 1)
    check_size(max(len(source), path.stat().st_size), path.name)
    return source
