"""What comes with this checkout: the recipes, one for each engine, which others start from, and the kernels.

python -m shared.runs.shipped     lists the kernels anew, when a person has read those that are new or changed
"""

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple, Protocol

from shared.contracts import RunResult
from shared.files import sha256_file, write_atomic
from shared.settings import CHECKOUT

KERNELS = CHECKOUT / "kernels"
KERNEL_LIST = KERNELS / "shipped.sha256"
"""a hash and a path a line, of every Python file of kernels/"""
PROMOTED = KERNELS / "promoted.toml"
OWN_FUNCTION = "reference"
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


class Asked(Protocol):
    """A job, or an idea: what is to be run."""

    @property
    def recipe_sha(self) -> str: ...

    @property
    def kernels(self) -> Mapping[str, str]:
        """by op"""


class Trained(NamedTuple):
    """What is to be run, where there is neither a job nor an idea of it."""

    recipe_sha: str
    kernels: Mapping[str, str]


def is_shipped(of: Asked | RunResult) -> bool:
    """Whether nobody but us wrote what its process runs: a shipped recipe, and no kernel but shipped ones."""
    kernels = _kernels_used(of) if isinstance(of, RunResult) else of.kernels.items()
    return of.recipe_sha in shipped_recipes() and all(is_shipped_kernel(op, kernel) for op, kernel in kernels)


def promoted_kernels(hardware_key: str) -> dict[str, str]:
    """By op, which kernel a recipe finds in place of its own function on that machine (kernels/promotion.py)."""
    rows = tomllib.loads(PROMOTED.read_text()).get("promoted", [])
    try:
        return {row["op"]: row["kernel"] for row in rows if row["hardware_key"] == hardware_key}
    except (KeyError, TypeError) as error:
        raise ValueError(f"{PROMOTED.name} is no list of promotions: restore it from version control") from error


def is_shipped_kernel(op: str, kernel: str) -> bool:
    """Whether its file is as the list has it. "reference" is the recipe's own function, the recipe's matter."""
    file = KERNELS / op / f"{kernel}.py"
    return kernel == OWN_FUNCTION or (file.is_file() and sha256_file(file) in listed_kernels())


def _kernels_used(result: RunResult) -> Iterable[tuple[str, str]]:
    """As kernels/choose.py noted them: `op kernel, op kernel`, or `references`."""
    noted = (choice.chosen for choice in result.choices if choice.what == "kernels")
    pairs = (used.partition(" ") for chosen in noted if chosen != "references" for used in chosen.split(", "))
    return [(op, kernel) for op, _, kernel in pairs]


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
