"""The rule of choice: lowest expected val_bpb at the target; within noise the smaller memory band, then more tokens/s.

Throughput is already inside val_bpb at a fixed number of seconds, so it decides only between equals.
"""

from collections.abc import Sequence
from typing import Literal

from services.calibrator.envelope_model import Band
from services.calibrator.gain import Beliefs
from services.calibrator.measurement import Outcome
from services.calibrator.space import Candidate
from shared.contracts import Contract, Shape


class Ranked(Contract):
    preset: str
    shape: Shape
    val_bpb: float
    """expected at the target budget"""
    spread: float
    """one standard deviation of that expectation, without the noise of a run"""
    source: Literal["table", "curve"]
    """the quality table with this machine's rows, or the shape's own budgets"""
    tok_per_sec: float
    memory_mb: float
    """MiB"""
    band: Band
    probes: tuple[str, ...] = ()
    """keys of its own probes; none: inferred from others"""


def ranking(beliefs: Beliefs, outcomes: Sequence[Outcome], margin: float) -> list[Ranked]:
    """Of the pool, best first."""
    return in_order([_ranked(beliefs, place, outcomes) for place in range(len(beliefs.pool))], margin)


def in_order(candidates: Sequence[Ranked], margin: float) -> list[Ranked]:
    """Whatever is within `margin` of the lowest is its equal."""
    lowest = min((one.val_bpb for one in candidates), default=0.0)
    return sorted(candidates, key=lambda one: _order(one, tied=one.val_bpb <= lowest + margin))


def shortened(ranked: Sequence[Ranked], most: int) -> list[Ranked]:
    """The first `most`, of every other model its first, and the first that ran here: what is confirmed may be one of
    those."""
    firsts = {one.preset: one.shape for one in reversed(ranked)}
    kept = {*firsts.values(), *[one.shape for one in ranked if one.probes][:1]}
    return [one for place, one in enumerate(ranked) if place < most or one.shape in kept]


def _order(one: Ranked, *, tied: bool) -> tuple[float, ...]:
    return (0, [*Band].index(one.band), -one.tok_per_sec) if tied else (1, one.val_bpb, 0)


def _ranked(beliefs: Beliefs, place: int, outcomes: Sequence[Outcome]) -> Ranked:
    candidate: Candidate = beliefs.pool[place]
    projection = beliefs.projection(place)
    return Ranked(
        preset=candidate.preset, shape=candidate.shape, val_bpb=projection.val_bpb, spread=projection.spread,
        source=projection.source, tok_per_sec=beliefs.projections.rates.of(candidate), memory_mb=candidate.memory_mb,
        band=candidate.band, probes=tuple(one.probe.key for one in outcomes if one.probe.shape == candidate.shape),
    )  # fmt: skip
