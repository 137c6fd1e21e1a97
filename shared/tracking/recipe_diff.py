"""How a run's recipe differs from its idea's parent, or from the shipped one of its engine: a diff for people to read.

The recipe is a stranger's text, and comparing is quadratic in its lines, so very long ones are not compared.
"""

import difflib

from shared.contracts import Job
from shared.files import sha256_bytes
from shared.runs.shipped import default_recipe

MOST_LINES = 4000


def recipe_diff(job: Job, source: bytes) -> bytes:
    """A line that says so where nothing differs, or where the recipe has more than 4,000 lines."""
    if job.idea is not None and job.idea.parent is not None:
        return (job.idea.diff or "nothing differs from the parent\n").encode()
    shipped = default_recipe(job.engine)
    before = shipped.read_bytes()
    if sha256_bytes(before) == sha256_bytes(source):
        return f"the shipped recipe {shipped.name}, unchanged\n".encode()
    lines = source.decode(errors="replace").splitlines()
    if len(lines) > MOST_LINES:
        return f"not compared: the recipe has {len(lines):,} lines\n".encode()
    difference = difflib.unified_diff(before.decode().splitlines(), lines, shipped.name, "recipe.py", lineterm="")
    return ("\n".join(difference) + "\n").encode()
