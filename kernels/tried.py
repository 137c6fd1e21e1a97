"""Kernels that one run tries: OP/KERNEL.py in its own folder, which no other run may read. Imports no framework."""

from importlib import import_module
from pathlib import Path

TRIED: set[tuple[str, str]] = set()
"""op and kernel, in this process"""


def find_in(folder: Path) -> None:
    """catalog.load finds the files of this folder too, behind those of the checkout. Nothing where there is none."""
    for file in folder.glob("*/*.py"):
        op = file.parent.name
        import_module(f"kernels.{op}").__path__.append(str(file.parent))
        TRIED.add((op, file.stem))
