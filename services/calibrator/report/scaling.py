"""The scaling candidate: a larger model whose expected curve crosses below the winner's within ten budgets.

Both curves come from the quality table with this machine's rows. What the table does not know moves both together, so
the crossing's interval is of joint draws from its covariance, not of two independent spreads.
"""

from dataclasses import dataclass

import numpy as np

from services.calibrator.report.contract import Scaling
from services.calibrator.report.points import LATER, Point, Points
from services.calibrator.report.subject import Subject, merged

NUM_BUDGETS = 61
BUDGETS = np.geomspace(1.0, LATER, NUM_BUDGETS)
NUM_DRAWS = 4000
INTERVAL = (0.05, 0.95)


@dataclass(frozen=True)
class Crossing:
    expected: float
    """budgets; infinite where the expected curves do not cross in the range"""
    low: float
    high: float
    probability: float
    gain: float


def scaling_of(subject: Subject, points: Points) -> Scaling:
    larger = points.families[points.families.index(points.winner.preset) + 1 :]
    found = [(point, crossing_of(subject, points.winner, point)) for point in map(points.best_later, larger) if point]
    crossing = [(point, one) for point, one in found if np.isfinite(one.expected)]
    if not larger:
        return Scaling(reason="the recommended model is the largest that was asked for")
    if not found:
        return Scaling(reason=f"no larger model fits: {', '.join(larger)}")
    if not crossing:
        likeliest, one = max(found, key=lambda pair: pair[1].probability)
        return Scaling(
            reason=f"no larger model is expected to be better within {LATER:g} budgets, {likeliest.preset} soonest",
            probability=one.probability,
            sources=_sources(subject, points.winner, likeliest),
        )
    point, one = min(crossing, key=lambda pair: (pair[1].expected, -pair[1].gain))
    return Scaling(
        reason=f"its expected curve is below the recommended one's from {one.expected:.1f} budgets on",
        preset=point.preset, shape=point.shape, crossing=one.expected, low=one.low,
        high=one.high if np.isfinite(one.high) else None, probability=one.probability, gain=one.gain,
        sources=_sources(subject, points.winner, point),
    )  # fmt: skip


def crossing_of(subject: Subject, winner: Point, other: Point) -> Crossing:
    seconds = BUDGETS * subject.target_s
    asked = [(point.shape, max(1, round(point.tok_per_sec * one))) for point in (winner, other) for one in seconds]
    predictions = subject.table.predict_many(asked)
    mean = predictions.val_bpb
    draws = np.random.default_rng(0).multivariate_normal(
        mean, predictions.covariance(), NUM_DRAWS, method="svd", check_valid="ignore"
    )
    ahead = draws[:, NUM_BUDGETS:] - draws[:, :NUM_BUDGETS]
    crossings = np.sort(first_below(ahead))
    low, high = (float(crossings[int(share * (NUM_DRAWS - 1))]) for share in INTERVAL)
    gap = mean[NUM_BUDGETS:] - mean[:NUM_BUDGETS]
    return Crossing(
        expected=float(first_below(gap[None])[0]),
        low=low,
        high=high,
        probability=float(np.isfinite(crossings).mean()),
        gain=float(-gap[-1]),
    )


def first_below(ahead: np.ndarray) -> np.ndarray:
    """Budgets from which on a curve stays below 0, [n] of [n, budgets]; infinite where it ends above."""
    above = ahead >= 0
    last_above = NUM_BUDGETS - 1 - np.argmax(above[:, ::-1], axis=1)
    start = np.where(above.any(1), last_above + 1, 0)
    return np.append(BUDGETS, np.inf)[start]


def _sources(subject: Subject, winner: Point, other: Point) -> tuple[str, ...]:
    seconds = LATER * subject.target_s
    said = (subject.say(point.shape, point.tok_per_sec * seconds).sources for point in (winner, other))
    return merged(winner.sources, other.sources, *said)
