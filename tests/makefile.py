"""What the Makefile makes, as make itself reads it."""

import re
import subprocess
from functools import cache

from shared.settings import CHECKOUT


@cache
def make_targets() -> set[str]:
    """The names a person may give to make."""
    return set(_printed(r"^\.PHONY: (.*)$"))


def make_list(name: str) -> list[str]:
    """The words of a variable."""
    return _printed(rf"^{name} :?= (.*)$")


def _printed(line: str) -> list[str]:
    database = subprocess.run(["make", "-pn", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    return re.search(line, database, flags=re.MULTILINE)[1].split()
