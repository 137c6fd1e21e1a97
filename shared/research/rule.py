"""The rule that keeps or drops an idea: a known-sigma test of its runs against the pool of its parent's runs.

Pure arithmetic. One run first: z > 2 is a keep, z < 1 a drop; between them more runs, up to four, and then z > 1.645.
A keep needs one fresh run that is better than the pool, and this run alone is the number that is published, because
the others were chosen for being low. benchmarks/decide.py measures how often the rule is wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist, fmean, variance
from typing import Protocol

KEEP_Z, DROP_Z, LAST_Z = 2.0, 1.0, 1.645
MOST_RUNS = 4
"""of an idea, before its fresh one"""
POOL_RUNS = 3
"""the parent is run until it has so many, once an idea lies between keep and drop: they serve later ideas too. Where
its runs are what measures the noise, it is run ENOUGH_SEEDS times."""
ENOUGH_SEEDS = 8
"""behind a sigma that is taken as known; with fewer, the bounds are those of Student's t at the same error"""
FEWEST_SEEDS = 3
"""behind a sigma that ideas are tried by: weak, and enough, since a promising idea has its parent run more often"""
ALIKE = 1e-3
"""probability of such equal runs that makes a recipe suspect of choosing its own seed"""


class Verdict(StrEnum):
    KEEP = "keep"
    DISCARD = "discard"
    UNDECIDED = "undecided"


class Sigma(Protocol):
    """What is asked of a noise estimate (shared/research/noise.py)."""

    @property
    def sigma(self) -> float: ...

    @property
    def num_seeds(self) -> int: ...

    @property
    def grows(self) -> bool:
        """Whether more runs of the parent would measure it better."""


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    reason: str
    """in numbers, one line"""
    effect: float | None = None
    """mean of the pool - mean of the idea's runs: what val_bpb seems to gain"""
    z: float | None = None
    bound: float | None = None
    """what z was held against"""
    num_runs: int = 0
    num_pool: int = 0
    published: float | None = None
    """of a keep: the fresh run's val_bpb"""
    idea_needs: int = 0
    """more runs of the idea that could change the verdict, to be made now"""
    parent_needs: int = 0
    resolvable: float | None = None
    """smallest effect that four runs can show here"""


def decide(runs: Sequence[float], pool: Sequence[float], noise: Sigma | None) -> Decision:
    """`runs`: val_bpb of the idea's runs in the order of their seeds; `pool`: those of its parent.

    What was run beyond the point at which the rule ends is not looked at.
    """
    if not pool:
        return _undecided(runs, pool, "its parent has no run to compare with", idea=int(not runs), parent=1)
    if not runs:
        return _undecided(runs, pool, "it has no run yet", idea=1)
    if noise is None or noise.sigma <= 0:
        return _without_noise(runs, pool)
    for count in range(1, min(len(runs), MOST_RUNS) + 1):
        z, keep, drop = z_of(runs[:count], pool, noise), bound(noise, KEEP_Z), bound(noise, DROP_Z)
        if count == MOST_RUNS:
            keep = drop = bound(noise, LAST_Z)
        if z > keep:
            return _fresh(runs, pool, noise, count, z, keep)
        if z < drop or count == MOST_RUNS:
            return _discard(runs[:count], pool, noise, z, drop)
    if len(pool) < wanted_pool(noise):
        said = f"z {z:.2f} lies between {drop:.2f} and {keep:.2f}, and the pool has {_runs(len(pool))}"
        return _undecided(runs, pool, said, parent=1, noise=noise)
    said = f"z {z:.2f} lies between {drop:.2f} and {keep:.2f}: {_runs(MOST_RUNS - len(runs))} may follow"
    return _undecided(runs, pool, said, idea=1, noise=noise)


def wanted_pool(noise: Sigma) -> int:
    """Runs of the parent before an idea between keep and drop runs again."""
    return ENOUGH_SEEDS if noise.grows and noise.num_seeds < ENOUGH_SEEDS else POOL_RUNS


def bound(noise: Sigma, z: float) -> float:
    """`z`, or the t of the same one-sided error where sigma rests on few seeds."""
    if noise.num_seeds >= ENOUGH_SEEDS:
        return z
    from scipy.special import stdtrit

    return float(stdtrit(noise.num_seeds - 1, NormalDist().cdf(z)))


def resolves(noise: Sigma, num_pool: int) -> dict[str, float]:
    """Smallest effect, by the number of runs of an idea, against something that has `num_pool` runs so far."""
    return {str(count): resolvable(noise, count, num_pool) for count in (1, 2, MOST_RUNS)}


def resolvable(noise: Sigma, num_runs: int, num_pool: int) -> float:
    """Effect that `num_runs` runs are expected to show at the keep bound. The parent has `num_pool` runs now; before
    the second run of the idea it is given as many as the rule wants."""
    z = KEEP_Z if num_runs < MOST_RUNS else LAST_Z
    pool = max(1, num_pool) if num_runs == 1 else max(wanted_pool(noise), num_pool)
    return bound(noise, z) * noise.sigma * math.sqrt(1 / num_runs + 1 / pool)


def z_of(runs: Sequence[float], pool: Sequence[float], noise: Sigma) -> float:
    return (fmean(pool) - fmean(runs)) / (noise.sigma * math.sqrt(1 / len(runs) + 1 / len(pool)))


def _fresh(
    runs: Sequence[float], pool: Sequence[float], noise: Sigma, count: int, z: float, keep_bound: float
) -> Decision:
    """The runs so far say keep: what the next one says of it."""
    if len(runs) == count:
        reason = f"z {z:.2f} > {keep_bound:.2f} in {_runs(count)}: a fresh run has to confirm it"
        return _undecided(runs, pool, reason, idea=1, noise=noise)
    fresh, mean = runs[count], fmean(pool)
    seen, found = runs[: count + 1], f"z {z:.2f} > {keep_bound:.2f} in {_runs(count)}"
    if fresh >= mean:
        reason = f"{found}, but the fresh run {fresh:.6f} is not below the pool's mean {mean:.6f}"
        return _decided(Verdict.DISCARD, reason, seen, pool, noise, z, keep_bound)
    if _is_too_alike(seen, noise):
        reason = (
            f"its {_runs(len(seen))} with different seeds differ by {max(seen) - min(seen):.2g}, where seeds make "
            f"{noise.sigma:.2g}: the recipe must use the seed that build() is given"
        )
        return _decided(Verdict.DISCARD, reason, seen, pool, noise, z, keep_bound)
    reason = f"{found}; the fresh run {fresh:.6f} is below the pool's mean {mean:.6f}"
    return _decided(Verdict.KEEP, reason, seen, pool, noise, z, keep_bound, published=fresh)


def _is_too_alike(runs: Sequence[float], noise: Sigma) -> bool:
    """Whether honest seeds hardly ever agree so well (chi-square, lower tail)."""
    if noise.num_seeds < ENOUGH_SEEDS:
        return False
    from scipy.special import chdtr

    freedom = len(runs) - 1
    return bool(chdtr(freedom, freedom * variance(runs) / noise.sigma**2) < ALIKE)


def _discard(runs: Sequence[float], pool: Sequence[float], noise: Sigma, z: float, drop: float) -> Decision:
    reason = f"z {z:.2f} {'<' if z < drop else '<='} {drop:.2f} in {_runs(len(runs))}"
    effect, smallest = fmean(pool) - fmean(runs), resolvable(noise, MOST_RUNS, len(pool))
    if 0 < effect < smallest:
        reason += (
            f"; an effect of {effect:.2g} is below the {smallest:.2g} that this machine resolves in {MOST_RUNS} runs"
        )
    return _decided(Verdict.DISCARD, reason, runs, pool, noise, z, drop)


def _without_noise(runs: Sequence[float], pool: Sequence[float]) -> Decision:
    """What can be said whatever sigma is: z < 1 when the idea is not even lower."""
    effect = fmean(pool) - fmean(runs)
    if effect <= 0:
        reason = f"no better than its parent in {_runs(len(runs))}, whatever the noise is"
        return Decision(Verdict.DISCARD, reason, effect, None, None, len(runs), len(pool))
    reason = "nobody has measured how much seeds change val_bpb here, so a gain cannot be told from luck"
    return _undecided(runs, pool, reason, parent=max(0, POOL_RUNS - len(pool)))


def _undecided(
    runs: Sequence[float],
    pool: Sequence[float],
    reason: str,
    *,
    idea: int = 0,
    parent: int = 0,
    noise: Sigma | None = None,
) -> Decision:
    effect = fmean(pool) - fmean(runs) if runs and pool else None
    return Decision(
        Verdict.UNDECIDED,
        reason,
        effect,
        z_of(runs[:MOST_RUNS], pool, noise) if noise else None,
        None,
        len(runs),
        len(pool),
        idea_needs=idea,
        parent_needs=parent,
        resolvable=resolvable(noise, MOST_RUNS, len(pool)) if noise else None,
    )


def _decided(
    verdict: Verdict,
    reason: str,
    runs: Sequence[float],
    pool: Sequence[float],
    noise: Sigma,
    z: float,
    held: float,
    published: float | None = None,
) -> Decision:
    smallest = resolvable(noise, MOST_RUNS, len(pool))
    effect = fmean(pool) - fmean(runs)
    return Decision(verdict, reason, effect, z, held, len(runs), len(pool), published, resolvable=smallest)


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
