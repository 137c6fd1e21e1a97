"""Which probe to run next: the one from which the choice is expected to gain most per second.

The gain of a probe is how much lower the best expected val_bpb at the target would be after it, on average over what
it may come to (the knowledge gradient of Frazier et al., 2009): a short budget of one shape also tells about its
neighbours and about longer budgets, as far as the quality table's covariance says.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from services.calibrator.projection import Projection, Projections
from services.calibrator.space import Candidate
from shared.contracts import Shape

NUM_DRAWS = 4000
DOUBT = 2.0
"""times the table's variance, for how sure the choice is: it has one form for all shapes and was asked for its best. On
simulated machines 62 % of the choices that were called 0.9 sure without it were within the margin, and 6 of 6 with it
"""
NUM_QUANTILES = 24
QUANTILES = np.array([NormalDist().inv_cdf((place + 0.5) / NUM_QUANTILES) for place in range(NUM_QUANTILES)])


@dataclass(frozen=True)
class Option:
    """A probe that could be run."""

    candidate: Candidate
    seconds: float
    cost_s: float
    """expected wall-clock"""
    chance: float
    """that it comes to a number"""


@dataclass(frozen=True)
class Beliefs:
    """Of the candidates that may be best, jointly, and what options would tell of them."""

    projections: Projections
    pool: Sequence[Candidate]
    options: Sequence[Option]

    @cached_property
    def _joint(self) -> tuple[np.ndarray, np.ndarray]:
        """Expected scores of pool and options, and their covariance."""
        targets = [(candidate, self.projections.target_s) for candidate in self.pool]
        predictions = self.projections.at(targets + [(one.candidate, one.seconds) for one in self.options])
        return predictions.val_bpb, predictions.covariance()

    @property
    def mean(self) -> np.ndarray:
        """Expected val_bpb of the pool at the target."""
        return self._joint[0][: len(self.pool)]

    @property
    def covariance(self) -> np.ndarray:
        return self._joint[1][: len(self.pool), : len(self.pool)]

    def projection(self, place: int) -> Projection:
        """Of one candidate of the pool: the surer of the table and the shape's own curve."""
        spread = float(np.sqrt(max(self.covariance[place, place], 0.0)))
        curve = self.projections.curve(self.pool[place].shape)
        if curve is not None and curve[1] < spread:
            return Projection(*curve, "curve")
        return Projection(float(self.mean[place]), spread, "table")

    def best_option(self) -> Option | None:
        """None where there is no option."""
        return self.options[int(np.argmax(self.gains()))] if self.options else None

    def gains(self) -> np.ndarray:
        """Of each option, in val_bpb per second."""
        size, noise = len(self.pool), self.projections.table.noise
        variance = np.diag(self._joint[1])[size:] + noise**2
        moves = self._joint[1][size:, :size] / np.sqrt(variance)[:, None]
        after = (self.mean + moves[:, None] * QUANTILES[:, None]).min(-1).mean(-1)
        cost, chance = np.array([(one.cost_s, one.chance) for one in self.options]).T
        return (self.mean.min() - after) * chance / cost

    def chance_of_best(self, shape: Shape, margin: float) -> float:
        """That no other of the pool is better than that one by more than `margin`."""
        place = [candidate.shape for candidate in self.pool].index(shape)
        # rounding leaves a covariance of far-off rows a hair from positive
        draws = np.random.default_rng(0).multivariate_normal(
            self.mean, DOUBT * self.covariance, NUM_DRAWS, method="svd", check_valid="ignore"
        )
        return float(np.mean(draws[:, place] - draws.min(1) < margin))


def plausible(projections: Projections, candidates: Sequence[Candidate], count: int) -> list[Candidate]:
    """The ones that may be best: half by their expected score, half by how good they could be, and each model's."""
    if not candidates:
        return []
    predictions = projections.at([(one, projections.target_s) for one in candidates])
    hopeful = predictions.val_bpb - predictions.spread
    orders = [np.argsort(scores, kind="stable")[: count // 2] for scores in (predictions.val_bpb, hopeful)]
    each = {candidates[place].preset: place for place in np.argsort(-predictions.val_bpb, kind="stable").tolist()}
    return [candidates[place] for place in dict.fromkeys([*np.concatenate(orders).tolist(), *each.values()])]
