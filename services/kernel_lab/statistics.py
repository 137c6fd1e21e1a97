"""What a few noisy timings say: medians with intervals, and whether paired differences are more than chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"

    def as_data(self) -> dict[str, float]:
        return {"value": self.value, "low": self.low, "high": self.high}


def median(values: Sequence[float]) -> Interval:
    """With its 95 % bootstrap interval; the same numbers always give the same interval."""
    array = np.asarray(values, float)
    if len(array) < 3 or np.ptp(array) == 0:
        return Interval(float(np.median(array)), float(array.min()), float(array.max()))
    found: Any = stats.bootstrap(
        (array,), np.median, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="percentile", rng=0
    )
    interval = found.confidence_interval
    return Interval(float(np.median(array)), float(interval.low), float(interval.high))


@dataclass(frozen=True)
class Paired:
    """Of differences that should be zero: their mean with its interval, and Student's t for one sample."""

    mean: Interval
    p: float
    """probability of such a mean, or a larger one either way, if there were no difference"""
    effect_size: float
    """mean over standard deviation of the differences (Cohen's d for pairs)"""
    pairs: int
    deviation: float
    """standard deviation of the differences"""

    def upper(self, p: float) -> float:
        """A true mean this large or larger would give such a mean, or a smaller one, with this probability at most."""
        return self.mean.value + float(stats.t.isf(p, self.pairs - 1)) * self.deviation / math.sqrt(self.pairs)


def paired(differences: Sequence[float]) -> Paired:
    """ValueError for fewer than two pairs."""
    array = np.asarray(differences, float)
    if len(array) < 2:
        raise ValueError("at least two pairs are needed to tell a difference from chance")
    spread = float(array.std(ddof=1))
    mean = float(array.mean())
    if spread == 0:
        p = 1.0 if mean == 0 else 0.0
        return Paired(Interval(mean, mean, mean), p, float(np.sign(mean)) * np.inf if mean else 0.0, len(array), spread)
    test: Any = stats.ttest_1samp(array, 0.0)
    interval = test.confidence_interval(CONFIDENCE)
    mean_within = Interval(mean, float(interval.low), float(interval.high))
    return Paired(mean_within, float(test.pvalue), mean / spread, len(array), spread)
