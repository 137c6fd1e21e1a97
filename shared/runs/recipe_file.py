"""A recipe as a file: its size is limited at every door, because a larger one carries weights."""

from pathlib import Path

from shared.contracts import LARGEST_RECIPE_BYTES


class InvalidRecipe(ValueError):
    """The recipe does not keep the protocol; the message is one line for its author."""


def check_size(num_bytes: int, name: str) -> None:
    """Asked at every door through which a recipe comes: larger ones carry weights. InvalidRecipe, one line."""
    if num_bytes > LARGEST_RECIPE_BYTES:
        size = f"{num_bytes / 1024:,.1f}"
        raise InvalidRecipe(f"{name} has {size} KiB, a recipe may have {LARGEST_RECIPE_BYTES >> 10} KiB")


def read_source(path: Path) -> bytes:
    """The file's content, of which no more is read than a recipe may have. InvalidRecipe when there is more."""
    with open(path, "rb") as file:
        source = file.read(LARGEST_RECIPE_BYTES + 1)
    check_size(max(len(source), path.stat().st_size), path.name)
    return source
