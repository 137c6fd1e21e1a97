"""The recipes of this checkout, one for each engine: what runs when no other is given, and what others start from."""

from functools import cache
from pathlib import Path

from shared.files import sha256_file
from shared.settings import CHECKOUT

_FOLDER = CHECKOUT / "services" / "trainer" / "recipes"


def default_recipe(engine: str) -> Path:
    return _FOLDER / f"gpt_{engine}.py"


@cache
def shipped_recipes() -> frozenset[str]:
    """Their hashes, SHA-256."""
    return frozenset(map(sha256_file, _FOLDER.glob("gpt_*.py")))


@cache
def shipped_sources() -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in sorted(_FOLDER.glob("gpt_*.py")))
