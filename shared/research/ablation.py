"""Taking a kept idea out again: the recipe without it, and the rule that says whether it is missed.

Kept ideas that neither help nor hurt pile up. The rule is that of an idea, turned round: four runs that show no sign
of a loss drop the idea. An ablation never improves the record, it only makes the recipe simpler.
"""

import math
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from shared.experiment.settings import normal
from shared.files import sha256_bytes
from shared.research import rule
from shared.research.idea import Idea
from shared.research.rule import DROP_Z, KEEP_Z, MOST_RUNS, Decision, Sigma, Verdict, bound, z_of

UNLIKELY = 1e-3
"""probability of such a loss where there is none"""

Recipes = Callable[[str], bytes]
"""the source with this hash; ValueError when it is nowhere"""


def taken_out(best: Idea, one: Idea, before: Idea, recipe: Recipes) -> tuple[bytes | None, dict[str, str]]:
    """Recipe and settings of `best` without what `one` changed in its parent `before`."""
    source = without(recipe(best.recipe_sha), recipe(one.recipe_sha), recipe(before.recipe_sha))
    return source, _settings_without(best, one, before)


def _settings_without(best: Idea, one: Idea, before: Idea) -> dict[str, str]:
    changed = {name for name in {*one.set, *before.set} if one.set.get(name) != before.set.get(name)}
    kept = {name: value for name, value in best.set.items() if name not in changed}
    return kept | {name: before.set[name] for name in changed if name in before.set}


def is_one(idea: Idea, ideas: Mapping[str, Idea], recipe: Recipes) -> bool:
    """Whether an idea that calls itself an ablation is its parent without an idea on the way to it, and no more.

    `ideas`: those that stand before it in the book. Anybody may append, and what no one misses is kept more easily.
    """
    best, one = ideas.get(idea.parent or ""), ideas.get(idea.without or "")
    if best is None or one is None or one.kind != "change" or one not in _on_the_way_to(best, ideas):
        return False
    before = ideas[str(one.parent)]
    if normal(idea.preset, idea.set) != normal(best.preset, _settings_without(best, one, before)):
        return False
    try:
        sources = [recipe(each.recipe_sha) for each in (best, one, before)]
    except ValueError:
        return False
    return _sha_without(*sources) == idea.recipe_sha


def _on_the_way_to(best: Idea, ideas: Mapping[str, Idea]) -> list[Idea]:
    """A parent stands before its children, so this comes to an end."""
    way = [best]
    while way[-1].parent is not None:
        way.append(ideas[way[-1].parent])
    return way


@lru_cache(maxsize=256)
def _sha_without(best: bytes, idea: bytes, parent: bytes) -> str | None:
    """A book is read many times."""
    source = without(best, idea, parent)
    return None if source is None else sha256_bytes(source)


def without(best: bytes, idea: bytes, parent: bytes) -> bytes | None:
    """`best` with what `idea` changed in `parent` taken back (a three-way merge); None where later changes touch it."""
    with tempfile.TemporaryDirectory(prefix="are-ablation-") as folder:
        names = ("best", "idea", "parent")
        for name, source in zip(names, (best, idea, parent), strict=True):
            (Path(folder) / name).write_bytes(source)
        try:
            done = subprocess.run(["git", "merge-file", "-p", *names], cwd=folder, capture_output=True)
        except FileNotFoundError:
            raise ValueError("git is missing: it takes ideas out of recipes (git merge-file)") from None
    return done.stdout if done.returncode == 0 else None


def decide(runs: Sequence[float], pool: Sequence[float], noise: Sigma | None) -> Decision:
    """Keep: the recipe without the idea is as good, so the idea is dropped. Discard: it is missed, or may be."""
    if not pool or not runs or noise is None or noise.sigma <= 0:
        found = rule.decide(runs, pool, None)
        return replace(found, verdict=Verdict.UNDECIDED, idea_needs=int(bool(pool) and not runs))
    loss, lost, missed = 0.0, bound(noise, DROP_Z), bound(noise, KEEP_Z)
    for count in range(1, min(len(runs), MOST_RUNS) + 1):
        loss = -z_of(runs[:count], pool, noise)
        if loss > missed:
            return _said(Verdict.DISCARD, f"it is missed: z {loss:.2f} > {missed:.2f}", runs[:count], pool, loss)
    if len(runs) < MOST_RUNS:
        found = _said(Verdict.UNDECIDED, f"no sign of a loss yet, z {loss:.2f}", runs, pool, loss)
        few = len(pool) < rule.wanted_pool(noise)
        return replace(found, parent_needs=int(few), idea_needs=int(not few))
    if _shows_a_loss(runs[:MOST_RUNS], pool):
        reason = "it is missed: by their own spread, the runs without it are worse"
        return _said(Verdict.DISCARD, reason, runs, pool, loss)
    if loss < lost:
        return _said(Verdict.KEEP, f"not missed in {MOST_RUNS} runs: z {loss:.2f} < {lost:.2f}", runs, pool, loss)
    return _said(Verdict.DISCARD, f"it may be missed: z {loss:.2f} in {MOST_RUNS} runs", runs, pool, loss)


def _shows_a_loss(runs: Sequence[float], pool: Sequence[float]) -> bool:
    """Whether they are worse than chance makes them, whatever sigma is said to be (Student's t test of two samples): by
    a sigma that somebody measured too large, nothing would be missed."""
    freedom, loss = len(runs) + len(pool) - 2, fmean(runs) - fmean(pool)
    if loss <= 0 or len(pool) < 2:
        return False
    squares = sum((value - fmean(side)) ** 2 for side in (runs, pool) for value in side)
    error = math.sqrt(squares / freedom * (1 / len(runs) + 1 / len(pool)))
    from scipy.special import stdtr

    return error == 0 or bool(stdtr(freedom, -loss / error) < UNLIKELY)


def _said(verdict: Verdict, reason: str, runs: Sequence[float], pool: Sequence[float], loss: float) -> Decision:
    published = fmean(runs) if verdict is Verdict.KEEP else None
    return Decision(verdict, reason, fmean(pool) - fmean(runs), -loss, None, len(runs), len(pool), published)
