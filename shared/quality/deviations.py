"""How far, and how alike, measured scores may be from the law: the covariance of what the law does not know.

Deviations are Gaussian processes over the shape, times a floor and a part that fades with tokens as the law does, so
that what a short run shows of a shape carries over to a longer one. There is one for all data, one for each dataset and
one for each machine of a dataset: quality should not depend on the machine, and where it does the table must say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from shared.quality.law import BEND, UNTRAINED_BPB, Points

# Of log_params, log_aspect, log_seq, half_windows, log_batch: over such a distance shapes become strangers.
SHAPE_SCALES = np.array([1.5, 2.0, 1.5, 1.0, 1.5])
GLOBAL_SCALES = 4 * SHAPE_SCALES
TOKENS_SCALE = 2.5
FADING = 0.2
"""exponent of the part that fades with tokens"""
SHARES = {"floor": 0.40, "fading": 0.45, "free": 0.15}
"""of the variance: constant in tokens, fading, and any smooth function of tokens"""
PIVOT_BPB = 1.3
"""where a dataset's scale leaves the score as it is"""
EARLY_SD, EARLY_STEPS, LARGEST_EARLY_SD = 0.02, 20, 0.2
"""a run of 20 steps is that far from what any smooth law says, one of 10 twice as far"""
EARLY_SCALE = 0.1
"""such a deviation is the shape's own, at about these tokens"""
RUNG_SD = 0.01
"""two rungs of one dataset are different validation rows"""


@dataclass(frozen=True)
class Place:
    """Where the rows come from, as numbers; arrays [n]."""

    dataset: np.ndarray
    machine: np.ndarray
    """of one dataset: equal numbers mean equal dataset too"""
    rung: np.ndarray
    """of one dataset, likewise"""


@dataclass(frozen=True)
class Apart:
    """How far a dataset may be from the published one."""

    offset: float
    """standard deviation of what is added to the score"""
    scale: float
    """and of the factor on its distance from the pivot"""
    share: float
    """of the amplitude of a dataset's own deviations"""
    law: float
    """how far the law's parameters are from the published one's, in standard deviations of their priors: another text
    is learned faster, asks for other models, batches and rows"""


@dataclass(frozen=True)
class Alike:
    """What two sets of points have in common, [n, m]; only the amplitudes are missing."""

    local: np.ndarray
    wide: np.ndarray
    same_dataset: np.ndarray
    same_machine: np.ndarray
    fixed: np.ndarray
    """offset, scale and law of a dataset, offset of a rung, what runs of very few steps score"""

    def terms(self) -> tuple[np.ndarray, ...]:
        """One for each amplitude: everywhere, in a dataset, on a machine."""
        return self.local, self.same_dataset * (self.local + self.wide) / 2, self.same_machine * self.wide

    def covariance(self, amplitudes: np.ndarray) -> np.ndarray:
        return self.fixed + sum(a * a * term for a, term in zip(amplitudes, self.terms(), strict=True))


@dataclass(frozen=True)
class Located:
    """Points with their places and what the law says of them."""

    points: Points
    place: Place
    law: np.ndarray
    """val_bpb of the published dataset"""
    slopes: np.ndarray
    """of the law by each parameter, times the standard deviation of its prior, [n, number of parameters]"""

    @property
    def trained(self) -> np.ndarray:
        """1 for a trained model, towards 0 for an untrained one: those all score the same."""
        return np.maximum(1 - (self.law / UNTRAINED_BPB) ** BEND, 0.1)

    def at(self, indices: Sequence[int]) -> "Located":
        return Located(_at(self.points, indices), _at(self.place, indices), self.law[indices], self.slopes[indices])


def _at(columns: Any, indices: Sequence[int]) -> Any:
    return type(columns)(*(getattr(columns, field.name)[indices] for field in fields(columns)))


def compare_places(first: Located, second: Located, apart: dict[int, Apart]) -> Alike:
    """`apart` has each dataset's number."""
    same_dataset = first.place.dataset[:, None] == second.place.dataset[None]
    same_rung = first.place.rung[:, None] == second.place.rung[None]
    offset, scale, share, law = _variances(first.place, apart)
    products = np.outer(first.law - PIVOT_BPB, second.law - PIVOT_BPB)
    over_tokens = _over_tokens(first.points, second.points) * np.outer(first.trained, second.trained)
    return Alike(
        local=over_tokens * _nearness(first.points, second.points, SHAPE_SCALES),
        wide=over_tokens * _nearness(first.points, second.points, GLOBAL_SCALES),
        same_dataset=same_dataset * share[:, None],
        same_machine=(first.place.machine[:, None] == second.place.machine[None]).astype(float),
        fixed=same_dataset
        * (offset[:, None] + scale[:, None] * products + law[:, None] * (first.slopes @ second.slopes.T))
        + same_rung * RUNG_SD**2
        + same_dataset * _early(first.points, second.points),
    )


def own_variance(located: Located, amplitudes: np.ndarray, apart: dict[int, Apart]) -> np.ndarray:
    """The diagonal of the covariance of points with themselves, [n]."""
    offset, scale, share, law = _variances(located.place, apart)
    fading = _fading(located.points)
    over_tokens = (SHARES["floor"] + SHARES["fading"] * fading * fading + SHARES["free"]) * located.trained**2
    everywhere, in_dataset, on_machine = amplitudes**2
    deviations = (everywhere + in_dataset * share + on_machine) * over_tokens
    apart_from_published = offset + scale * (located.law - PIVOT_BPB) ** 2 + law * (located.slopes**2).sum(-1)
    return deviations + apart_from_published + RUNG_SD**2 + _early_sd(located.points) ** 2


def _variances(place: Place, apart: dict[int, Apart]) -> np.ndarray:
    """Squares of offset, scale, share and law of each point's dataset, [4, n]."""
    squares = {number: np.square([one.offset, one.scale, one.share, one.law]) for number, one in apart.items()}
    return np.array([squares[int(number)] for number in place.dataset]).reshape(-1, 4).T


def _nearness(first: Points, second: Points, scales: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * _squared_distance(first.shapes / scales, second.shapes / scales))


def _squared_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = (first * first).sum(-1)[:, None] + (second * second).sum(-1)[None]
    return np.maximum(lengths - 2 * first @ second.T, 0.0)


def _over_tokens(first: Points, second: Points) -> np.ndarray:
    near = np.exp(-0.5 * ((first.log_tokens[:, None] - second.log_tokens[None]) / TOKENS_SCALE) ** 2)
    return SHARES["floor"] + SHARES["fading"] * np.outer(_fading(first), _fading(second)) + SHARES["free"] * near


def _early(first: Points, second: Points) -> np.ndarray:
    """Covariance of what runs of very few steps score besides everything else."""
    near = np.exp(-0.5 * ((first.log_tokens[:, None] - second.log_tokens[None]) / EARLY_SCALE) ** 2)
    near *= _nearness(first, second, np.full(5, EARLY_SCALE))
    return np.outer(_early_sd(first), _early_sd(second)) * near


def _early_sd(points: Points) -> np.ndarray:
    steps = np.exp(points.log_tokens - points.log_batch)
    return np.minimum(EARLY_SD * EARLY_STEPS / steps, LARGEST_EARLY_SD)


def _fading(points: Points) -> np.ndarray:
    """1 at 10 million tokens; no larger than at 100,000, where the law levels off."""
    return np.exp(-FADING * np.maximum(points.log_tokens - np.log(1e7), np.log(1e-2)))
