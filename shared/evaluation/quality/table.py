"""The quality table: what a shape will score after so many tokens, how sure that is, and which rows say so.

    QualityTable(rows, dataset).predict(shape, num_tokens) -> Prediction(val_bpb, spread, sources)

How it answers and how well: docs/preset-calibration.md.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from shared.contracts import Rung, Shape
from shared.evaluation.quality.deviations import Apart, Located, Place
from shared.evaluation.quality.fit import Fit, Measured, fit
from shared.evaluation.quality.law import points_of
from shared.evaluation.quality.rows import PUBLISHED_DATASET, QualityRow

ANOTHER_TEXT = Apart(offset=0.3, scale=0.35, share=1.0)
SAME_TEXT = Apart(offset=0.02, scale=0.03, share=0.5)
"""prepared from the published corpus: another tokenizer, other validation rows"""
PUBLISHED = Apart(offset=0.0, scale=0.0, share=0.5)
"""what the law is written for; several trainers and evaluators"""
SMALLEST_BPB = 0.01
MOST_SOURCES, SMALLEST_WEIGHT = 3, 0.1
"""a source weighs at least that share of the heaviest"""

Candidate = tuple[Shape, int]
"""shape and tokens it is trained on"""


@dataclass(frozen=True)
class Prediction:
    val_bpb: float
    spread: float
    """one standard deviation of what a run would score"""
    sources: tuple[str, ...]
    """of the rows that weigh most, heaviest first; empty when there are none"""


@dataclass(frozen=True)
class Predictions:
    """Of several candidates at once; arrays [n], in their order."""

    val_bpb: np.ndarray
    spread: np.ndarray
    _posterior: "_Posterior"

    def __len__(self) -> int:
        return len(self.val_bpb)

    def __getitem__(self, index: int) -> Prediction:
        sources = self._posterior.sources(index)
        return Prediction(float(self.val_bpb[index]), float(self.spread[index]), sources)

    def covariance(self) -> np.ndarray:
        """Of the expected scores, [n, n], without the noise of a run: what candidates share tells nothing apart."""
        return self._posterior.covariance

    def compare(self, first: int, second: int) -> tuple[float, float]:
        """Expected score of the first minus the second's, and the standard deviation of that difference."""
        spread = np.sqrt(max(np.array([1.0, -1.0]) @ self._posterior.between(first, second) @ [1.0, -1.0], 0.0))
        return float(self.val_bpb[first] - self.val_bpb[second]), float(spread)


@dataclass(frozen=True)
class QualityTable:
    """Rows and what follows from them for one dataset. Immutable; the first prediction fits it."""

    rows: tuple[QualityRow, ...]
    dataset: str
    """fingerprint of the dataset whose scores are asked for"""
    vocab_size: int = 8192
    corpus: str = ""
    """what the dataset was prepared from; "climbmix" makes it nearly the published one"""
    hardware_key: str | None = None
    """the machine that asks: its own rows overrule others of the same dataset; None: any"""
    rung: Rung | None = None
    """None: the one that most rows of the dataset have"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))

    def with_rows(self, more: Iterable[QualityRow]) -> "QualityTable":
        return QualityTable(
            (*self.rows, *more), self.dataset, self.vocab_size, self.corpus, self.hardware_key, self.rung
        )

    def predict(self, shape: Shape, num_tokens: int) -> Prediction:
        return self.predict_many([(shape, num_tokens)])[0]

    def predict_many(self, candidates: Sequence[Candidate]) -> Predictions:
        points = points_of(candidates, self.vocab_size)
        place = self._places([self._asked] * len(points))
        posterior = _Posterior(self._solved, self._fit.located(points, place))
        spread = np.sqrt(posterior.variance + self._fit.noise**2)
        return Predictions(np.maximum(posterior.mean, SMALLEST_BPB), spread, posterior)

    def compare(self, first: Candidate, second: Candidate) -> tuple[float, float]:
        """Expected score of the first minus the second's, and the standard deviation of that difference."""
        return self.predict_many([first, second]).compare(0, 1)

    @property
    def noise(self) -> float:
        """Standard deviation between runs that differ in nothing but their seed, as learned from the rows."""
        return self._fit.noise

    @cached_property
    def _fit(self) -> Fit:
        return fit(self._measured)

    @cached_property
    def _solved(self) -> "_Solved":
        return _Solved(self._fit, tuple(row.source for row in self.rows))

    @cached_property
    def _measured(self) -> Measured:
        return Measured(
            points=points_of([(row.shape, row.num_tokens) for row in self.rows], self.vocab_size),
            place=self._places([(row.dataset, row.hardware_key, row.rung) for row in self.rows]),
            val_bpb=np.array([row.val_bpb for row in self.rows]),
            sigma=np.array([np.nan if row.sigma is None else row.sigma for row in self.rows], dtype=float),
            apart={number: self._apart(name) for name, number in self._numbers.items()},
        )

    def _apart(self, dataset: object) -> Apart:
        if dataset == PUBLISHED_DATASET:
            return PUBLISHED
        return SAME_TEXT if dataset == self.dataset and self.corpus == PUBLISHED_DATASET else ANOTHER_TEXT

    @cached_property
    def _asked(self) -> tuple[str, str | None, Rung | None]:
        rungs = Counter(row.rung for row in self.rows if row.dataset == self.dataset)
        rung = self.rung or (rungs.most_common(1)[0][0] if rungs else None)
        return self.dataset, self.hardware_key, rung

    @cached_property
    def _numbers(self) -> dict[object, int]:
        """A number for every dataset, machine of a dataset and rung of a dataset."""
        found: dict[object, int] = {}
        for dataset, machine, rung in [*((row.dataset, row.hardware_key, row.rung) for row in self.rows), self._asked]:
            for name in (dataset, (dataset, "machine", machine), (dataset, "rung", rung)):
                found.setdefault(name, len(found))
        return found

    def _places(self, origins: Sequence[tuple[str, str | None, Rung | None]]) -> Place:
        numbers = [
            [self._numbers[name] for name in (dataset, (dataset, "machine", machine), (dataset, "rung", rung))]
            for dataset, machine, rung in origins
        ]
        return Place(*np.array(numbers, dtype=int).reshape(-1, 3).T)


class _Solved:
    """The rows' side of every prediction, computed once."""

    def __init__(self, fit: Fit, sources: tuple[str, ...]):
        self.fit, self.sources, self.rows = fit, sources, fit.rows
        total = fit.covariance(self.rows, self.rows) + np.diag(fit.noise_variance())
        self.inverse = np.linalg.inv(total) if len(sources) else np.zeros((0, 0))
        self.weighed = self.inverse @ (fit.measured.val_bpb - fit.prior_mean(self.rows))


class _Posterior:
    """Expected scores of candidates given the rows."""

    def __init__(self, solved: _Solved, asked: Located):
        self._solved, self._asked = solved, asked
        self._cross = solved.fit.covariance(asked, solved.rows)
        self._weights = self._cross @ solved.inverse
        self.mean = solved.fit.prior_mean(asked) + self._cross @ solved.weighed
        self.variance = np.maximum(solved.fit.variance(asked) - (self._weights * self._cross).sum(-1), 0.0)

    @cached_property
    def covariance(self) -> np.ndarray:
        return self._solved.fit.covariance(self._asked, self._asked) - self._weights @ self._cross.T

    def between(self, first: int, second: int) -> np.ndarray:
        """Covariance of two of them, [2, 2]."""
        pair = [first, second]
        asked = self._asked.at(pair)
        return self._solved.fit.covariance(asked, asked) - self._weights[pair] @ self._cross[pair].T

    def sources(self, index: int) -> tuple[str, ...]:
        weights = np.abs(self._weights[index])
        heaviest = [int(row) for row in np.argsort(-weights)[:MOST_SOURCES]]
        return tuple(
            dict.fromkeys(
                self._solved.sources[row] for row in heaviest if weights[row] >= SMALLEST_WEIGHT * weights.max()
            )
        )
