"""What an experiment tests, as a name that follows from it: its recipe and the settings that were asked for.

Whoever builds a job checks the name, so no run can count for another idea. The seeds of an idea follow from its name
and from what was drawn when it came into the book: nobody chooses them, a recipe cannot be made for them, and nobody
knows them before the idea is on record.
"""

import hashlib
import json
from collections.abc import Mapping

from shared.contracts import IdeaRef
from shared.experiment.settings import normal


def idea_id(recipe_sha: str, preset: str | None, settings: Mapping[str, str]) -> str:
    """`settings` are the values of --set, in their normal form (shared/experiment/settings.py)."""
    content = json.dumps([recipe_sha, preset, sorted(settings.items())])
    return f"i{_digest(content)[:10]}"


def seed_of(idea: str, index: int, nonce: str = "") -> int:
    """Seed of an idea's run number `index`, below 2^31. `nonce`: what was drawn for it; older books have none."""
    return int(_digest(" ".join(filter(None, (idea, nonce, str(index)))))[:8], 16) >> 1


def check_identity(idea: IdeaRef, recipe_sha: str, preset: str | None, settings: Mapping[str, str]) -> None:
    """ValueError when the run would test something else than the idea it names.

    Ideas are named by settings in their normal form; older books have some that were named by what was typed.
    """
    meant = idea_id(recipe_sha, *normal(preset, settings))
    if idea.id not in (meant, idea_id(recipe_sha, preset, settings)):
        raise ValueError(f"idea {idea.id} is another recipe or has other settings; this one would be {meant}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
