"""The quality table: what a shape will score after so many tokens, how sure that is, and which rows say so.

    QualityTable(rows, dataset).predict(shape, num_tokens) -> Prediction(val_bpb, spread, sources)

How it answers and how well: docs/preset-calibration.md.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from shared.contracts import Rung, Shape
from shared.quality.deviations import Apart, Place
from shared.quality.fit import Fit, Measured, fit
from shared.quality.law import points_of
from shared.quality.posterior import Posterior, Solved
from shared.quality.rows import PUBLISHED_DATASET, QualityRow

ANOTHER_TEXT = Apart(offset=0.3, scale=0.35, share=1.0, law=1.0)
SAME_TEXT = Apart(offset=0.02, scale=0.03, share=0.5, law=0.1)
"""prepared from the published corpus: another tokenizer, other validation rows"""
PUBLISHED = Apart(offset=0.0, scale=0.0, share=0.5, law=0.0)
"""what the law is written for; several trainers and evaluators"""
SMALLEST_BPB = 0.01
LEARNED_NOTHING_BPB = 6.5
"""rows above it are left out: a guess among 8,192 tokens costs 13 bits, and no text that we know has fewer than two
bytes a token, so a run that scores worse went astray and says nothing of others. One of 8.0 among eight made the
table's errors ten times larger (simulated datasets of benchmarks.quality_table)"""
MOST_ROWS = 250
"""more make fitting slow and nothing surer"""

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
    _posterior: Posterior

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
        difference = np.array([1.0, -1.0])
        variance = difference @ self._posterior.between([first, second]) @ difference
        return float(self.val_bpb[first] - self.val_bpb[second]), math.sqrt(max(variance, 0.0))


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
    """the machine that asks: its own rows overrule others of the same dataset; None: that of the dataset's last row"""
    rung: Rung | None = None
    """None: the one that most rows of the dataset have"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(self.rows))

    def with_rows(self, more: Iterable[QualityRow]) -> "QualityTable":
        return replace(self, rows=(*self.rows, *more))

    def predict(self, shape: Shape, num_tokens: int) -> Prediction:
        return self.predict_many([(shape, num_tokens)])[0]

    def predict_many(self, candidates: Sequence[Candidate]) -> Predictions:
        points = points_of(candidates, self.vocab_size)
        place = self._places([self._asked] * len(points))
        posterior = Posterior(self._solved, self._fit.located(points, place))
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
    def _solved(self) -> Solved:
        return Solved(self._fit, tuple(row.source for row in self._used))

    @cached_property
    def _used(self) -> tuple[QualityRow, ...]:
        """All rows of models that learned, or of too many those nearest to the question: this machine's, this
        dataset's, published, newest."""
        dataset, machine, _ = self._asked

        def distance(index: int) -> tuple[bool, bool, bool, int]:
            row = self.rows[index]
            ours = row.dataset == dataset
            return not (ours and row.hardware_key == machine), not ours, row.dataset != PUBLISHED_DATASET, -index

        learned = [index for index, row in enumerate(self.rows) if row.val_bpb <= LEARNED_NOTHING_BPB]
        kept = sorted(sorted(learned, key=distance)[:MOST_ROWS])
        return tuple(self.rows[index] for index in kept)

    @cached_property
    def _measured(self) -> Measured:
        return Measured(
            points=points_of([(row.shape, row.num_tokens) for row in self._used], self.vocab_size),
            place=self._places([(row.dataset, row.hardware_key, row.rung) for row in self._used]),
            val_bpb=np.array([row.val_bpb for row in self._used]),
            sigma=np.array([np.nan if row.sigma is None else row.sigma for row in self._used], dtype=float),
            apart={number: self._apart(name) for name, number in self._numbers.items()},
        )

    def _apart(self, dataset: object) -> Apart:
        if dataset == PUBLISHED_DATASET:
            return PUBLISHED
        return SAME_TEXT if dataset == self.dataset and self.corpus == PUBLISHED_DATASET else ANOTHER_TEXT

    @cached_property
    def _asked(self) -> tuple[str, str | None, Rung | None]:
        rows = [row for row in self.rows if row.dataset == self.dataset]
        rungs = Counter(row.rung for row in rows).most_common(1)
        machine = self.hardware_key or (rows[-1].hardware_key if rows else None)
        return self.dataset, machine, self.rung or (rungs[0][0] if rungs else None)

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
