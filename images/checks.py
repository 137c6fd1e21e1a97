"""What the tests of several images share. Each runs in its image: as its user, without a network, root read-only.

images/<image>/test.py or test.sh, started by tests/stack/test_images.py. Python's own library only.
"""

import importlib.util
import os
import re
import shutil
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path("/constraints.txt")
OURS = {"autoresearch-everywhere"}
FROM_VENV = {"pip", "setuptools"}


def expect_pinned_versions(*needed: str) -> None:
    """Everything that is installed is what constraints.txt says, a local build (+cpu) of it included."""
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if "==" in line]
    pinned = {normal(name): version for name, version in (line.split("==") for line in lines)}
    installed = {normal(found.metadata["Name"]): found.version.split("+")[0] for found in distributions()}
    for name in sorted(set(installed) - OURS - FROM_VENV):
        assert pinned.get(name) == installed[name], f"{name} is {installed[name]}, pinned is {pinned.get(name)}"
    assert set(needed) <= set(installed), set(needed) - set(installed)
    print(f"{len(installed)} packages, all as pinned:", *(f"{name} {installed[name]}" for name in needed))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def expect_no_module(*names: str) -> None:
    there = [name for name in names if importlib.util.find_spec(name)]
    assert not there, f"{there} have no place in this image"


def expect_no_program(*names: str) -> None:
    there = [name for name in names if shutil.which(name)]
    assert not there, f"{there} have no place in this image"


def expect_harmless_user(*writable: str) -> None:
    """Not root, and of all folders only these can be written: those that volumes are mounted on."""
    assert (os.getuid(), os.getgid()) == (10001, 10001)
    places = (Path(folder) for root in ("/app", "/opt", "/etc", "/usr/lib", "/are", "/spool") for folder in below(root))
    owned = {str(path) for path in places if path.stat().st_uid == os.getuid() or path.stat().st_mode & 0o002}
    assert owned <= set(writable), owned - set(writable)


def below(root: str) -> list[str]:
    return [folder for folder, _, _ in os.walk(root)]
