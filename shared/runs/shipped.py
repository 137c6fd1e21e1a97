"""What comes with this checkout: the recipes, one for each engine, which others start from, and the kernels.

python -m shared.runs.shipped     lists the kernels anew, when a person has read those that are new or changed
"""

from functools import cache
from pathlib import Path

from shared.files import sha256_file, write_atomic
from shared.settings import CHECKOUT

KERNELS = CHECKOUT / "kernels"
KERNEL_LIST = KERNELS / "shipped.sha256"
"""a hash and a path a line, of every Python file of kernels/"""
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


def listed_kernels() -> frozenset[str]:
    """Hashes of the files of kernels/ that a person has read, SHA-256."""
    return frozenset(line.split()[0] for line in KERNEL_LIST.read_text().splitlines())


def other_kernels() -> tuple[Path, ...]:
    """Files of kernels/ that are not on the list. Any recipe may read them, and nobody said that they hold no data."""
    listed = listed_kernels()
    return tuple(file for file in sorted(KERNELS.rglob("*.py")) if sha256_file(file) not in listed)


def list_kernels() -> str:
    """The list as it would be of the files that are there now."""
    files = sorted(KERNELS.rglob("*.py"))
    return "".join(f"{sha256_file(file)}  {file.relative_to(KERNELS).as_posix()}\n" for file in files)


if __name__ == "__main__":
    write_atomic(KERNEL_LIST, list_kernels())
