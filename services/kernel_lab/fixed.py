"""What an author of kernels may not change: an op's definition and references, what its kernels import, and the
harness that judges. Hashed.

A workspace remembers the hashes from when it was made, and the ledger remembers the workspace's, so an edited tolerance
is one clear line instead of a passed test.
"""

import hashlib
from pathlib import Path

from kernels import catalog
from shared.files import sha256_file
from shared.settings import CHECKOUT

HARNESS = ("kernels/records.py", "kernels/inputs.py", "kernels/correctness.py", "kernels/catalog.py")


def fixed_files(op: str) -> dict[str, str]:
    """{path in the checkout: sha256}"""
    paths = [catalog.folder(op) / "definition.py", *catalog.reference_files(op)]
    paths += [CHECKOUT / source.path for one in catalog.solutions(op) for source in one.sources[1:]]
    paths += [CHECKOUT / name for name in HARNESS]
    paths += sorted((CHECKOUT / "services" / "kernel_lab").glob("*.py"))
    return {path.relative_to(CHECKOUT).as_posix(): sha256_file(path) for path in paths if path.is_file()}


def digest(files: dict[str, str]) -> str:
    """One hash for all of them."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def edited(remembered: dict[str, str], op: str) -> list[Path]:
    """Files that are not what they were."""
    now = fixed_files(op)
    return [Path(name) for name in sorted({*remembered, *now}) if remembered.get(name) != now.get(name)]
