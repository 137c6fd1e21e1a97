"""Taking a kept idea out again: the recipe without it, and the rule that says whether it is missed.

Kept ideas that neither help nor hurt pile up. The rule is that of an idea, turned round: four runs that show no sign
of a loss drop the idea. An ablation never improves the record, it only makes the recipe simpler.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from shared.research import rule
from shared.research.rule import DROP_Z, KEEP_Z, MOST_RUNS, Decision, Sigma, Verdict, bound, z_of


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
    if loss < lost:
        return _said(Verdict.KEEP, f"not missed in {MOST_RUNS} runs: z {loss:.2f} < {lost:.2f}", runs, pool, loss)
    return _said(Verdict.DISCARD, f"it may be missed: z {loss:.2f} in {MOST_RUNS} runs", runs, pool, loss)


def _said(verdict: Verdict, reason: str, runs: Sequence[float], pool: Sequence[float], loss: float) -> Decision:
    published = fmean(runs) if verdict is Verdict.KEEP else None
    return Decision(verdict, reason, fmean(pool) - fmean(runs), -loss, None, len(runs), len(pool), published)
