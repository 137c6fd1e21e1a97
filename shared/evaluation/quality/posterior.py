"""From a fit to expected scores: what the rows leave open about candidates, and which rows say most about each."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from shared.evaluation.quality.deviations import Located
from shared.evaluation.quality.fit import Fit

MOST_SOURCES, SMALLEST_WEIGHT = 3, 0.1
"""a source weighs at least that share of the heaviest"""


class Solved:
    """The rows' side of every prediction, computed once."""

    def __init__(self, fit: Fit, sources: tuple[str, ...]):
        self.fit, self.sources, self.rows = fit, sources, fit.rows
        total = fit.covariance(self.rows, self.rows) + np.diag(fit.noise_variance())
        self.inverse = np.linalg.inv(total) if len(sources) else np.zeros((0, 0))
        self.weighed = self.inverse @ (fit.measured.val_bpb - fit.prior_mean(self.rows))


class Posterior:
    """Expected scores of candidates given the rows."""

    def __init__(self, solved: Solved, asked: Located):
        self._solved, self._asked = solved, asked
        self._cross = solved.fit.covariance(asked, solved.rows)
        self._weights = self._cross @ solved.inverse
        self.mean = solved.fit.prior_mean(asked) + self._cross @ solved.weighed
        self.variance = np.maximum(solved.fit.variance(asked) - (self._weights * self._cross).sum(-1), 0.0)

    @cached_property
    def covariance(self) -> np.ndarray:
        return self.between(range(len(self.mean)))

    def between(self, some: Sequence[int]) -> np.ndarray:
        """Covariance of some of them, [n, n]."""
        indices = list(some)
        asked = self._asked.at(indices)
        return self._solved.fit.covariance(asked, asked) - self._weights[indices] @ self._cross[indices].T

    def sources(self, index: int) -> tuple[str, ...]:
        weights = np.abs(self._weights[index])
        heaviest = [int(row) for row in np.argsort(-weights)[:MOST_SOURCES]]
        return tuple(
            dict.fromkeys(
                self._solved.sources[row] for row in heaviest if weights[row] >= SMALLEST_WEIGHT * weights.max()
            )
        )
