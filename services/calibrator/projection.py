"""What the search believes of every shape at every budget: the quality table with this machine's own outcomes as rows.

Tokens come from the envelope, corrected by the rates that probes had. A shape with three completed budgets also has a
curve of its own, E + A T^-a; the surer of both is believed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import Literal

import numpy as np

from services.calibrator.envelope_model import pass_tokens
from services.calibrator.measurement import Outcome, counting
from services.calibrator.space import FEWEST_STEPS, Candidate
from shared.contracts import Shape
from shared.quality import LEARNED_NOTHING_BPB, Predictions, QualityRow, QualityTable

FEWEST_PROBE_STEPS = 12
"""that a probe is planned with"""
FEWEST_ROW_STEPS = 6
"""below which an outcome tells rates and costs but nothing of quality"""
FAR, OTHER_MODEL = 0.05, 0.1
"""weights of a rate with passes of another size, of another model; 1 for the same"""
FEWEST_BUDGETS = 3
BOOTSTRAPS = 200
EXPONENTS = np.linspace(0.1, 1.5, 29)
"""of time, between which curves of finished budgets lie"""


class Rates:
    """Tokens per second: as measured, or the envelope's times what probes with passes of about that size had over it.

    A line in the size of a pass knows no cache that becomes too small, so sizes have ratios of their own.
    """

    def __init__(self, candidates: dict[Shape, Candidate], outcomes: Iterable[Outcome]):
        self._of_shape: dict[Shape, list[float]] = defaultdict(list)
        found: list[tuple[str, float, float]] = []
        for outcome in counting(outcomes):
            candidate = candidates.get(outcome.probe.shape)
            if candidate and outcome.tok_per_sec:
                self._of_shape[candidate.shape].append(outcome.tok_per_sec)
                ratio = outcome.tok_per_sec / candidate.tok_per_sec
                found.append((candidate.preset, np.log2(pass_tokens(candidate.shape)), ratio))
        self._presets = np.array([preset for preset, _, _ in found])
        self._octaves = np.array([octave for _, octave, _ in found])
        self._ratios = np.array([ratio for _, _, ratio in found])
        self._known: dict[tuple[str, int], float] = {}

    def of(self, candidate: Candidate) -> float:
        if measured := self._of_shape.get(candidate.shape):
            return median(measured)
        key = candidate.preset, pass_tokens(candidate.shape)
        if key not in self._known:
            self._known[key] = self._ratio(*key)
        return candidate.tok_per_sec * self._known[key]

    def _ratio(self, preset: str, tokens: int) -> float:
        if not len(self._ratios):
            return 1.0
        near = np.exp(-0.5 * (self._octaves - np.log2(tokens)) ** 2) + FAR
        weights = near * np.where(self._presets == preset, 1.0, OTHER_MODEL)
        return float(weights @ self._ratios / weights.sum())


def is_row(outcome: Outcome) -> bool:
    """Whether it tells the table anything."""
    return outcome.is_ok and outcome.num_steps >= FEWEST_ROW_STEPS and (outcome.val_bpb or 0.0) <= LEARNED_NOTHING_BPB


def went_astray(outcome: Outcome) -> bool:
    """It came to a number, but after steps enough the model knew less than an untrained one: as bad as a failure."""
    return outcome.is_ok and outcome.num_steps >= FEWEST_STEPS and (outcome.val_bpb or 0.0) > LEARNED_NOTHING_BPB


def row_of(outcome: Outcome, table: QualityTable) -> QualityRow:
    """What an outcome tells the table. ValueError for one without a number."""
    if outcome.val_bpb is None:
        raise ValueError(f"probe {outcome.probe.key} came to no number")
    return QualityRow(
        source=outcome.run_id or outcome.probe.key, dataset=table.dataset, shape=outcome.probe.shape,
        num_tokens=outcome.num_tokens, val_bpb=outcome.val_bpb, rung=outcome.probe.rung,
        hardware_key=table.hardware_key,
    )  # fmt: skip


@dataclass(frozen=True)
class Projection:
    """Of one shape to the target budget."""

    val_bpb: float
    spread: float
    """one standard deviation of the expected score"""
    source: Literal["table", "curve"]


class Projections:
    def __init__(
        self, table: QualityTable, candidates: dict[Shape, Candidate], outcomes: Sequence[Outcome], target_s: float
    ) -> None:
        self.target_s, self.rates, self._candidates = target_s, Rates(candidates, outcomes), candidates
        self._rows = [one for one in outcomes if is_row(one) and table.rung in (None, one.probe.rung)]
        self.numbers = counting(self._rows)
        self.table = table.with_rows(row_of(outcome, table) for outcome in self.numbers)

    def at(self, wanted: Sequence[tuple[Candidate, float]]) -> Predictions:
        """The table's, of each candidate trained for so many seconds."""
        return self.table.predict_many([(one.shape, round(self.rates.of(one) * seconds)) for one, seconds in wanted])

    def value(self, outcome: Outcome) -> float | None:
        """Expected val_bpb of its shape at the target; None where it came to no number."""
        return self._values.get(outcome.probe.key)

    @cached_property
    def _values(self) -> dict[str, float]:
        found = [one for one in self._rows if one.probe.shape in self._candidates]
        wanted = [(self._candidates[one.probe.shape], self.target_s) for one in found]
        return dict(zip([one.probe.key for one in found], self.at(wanted).val_bpb.tolist(), strict=True))

    def curve(self, shape: Shape) -> tuple[float, float] | None:
        """val_bpb at the target and its standard deviation from the shape's own budgets; None with fewer than three."""
        found = {one.probe.seconds: one.val_bpb for one in self.numbers if one.probe.shape == shape}
        if len(found) < FEWEST_BUDGETS:
            return None
        return extrapolated(np.array([*found]), np.array([*found.values()]), self.target_s, self.table.noise)


def extrapolated(seconds: np.ndarray, val_bpb: np.ndarray, target_s: float, noise: float) -> tuple[float, float]:
    """E + A T^-a at the target: mean and standard deviation over scores redrawn with `noise` and over exponents.

    Three points do not tell the exponent, so every one counts by how well it fits; A is not negative.
    """
    random = np.random.default_rng(0)
    drawn = val_bpb + random.normal(0, noise, (BOOTSTRAPS, len(val_bpb)))
    powers = (seconds[None] / target_s) ** -EXPONENTS[:, None]
    centred = powers - powers.mean(1, keepdims=True)
    slope = np.maximum(drawn @ centred.T / (centred**2).sum(1), 0.0)
    level = drawn.mean(1, keepdims=True) - slope * powers.mean(1)
    misfit = ((drawn[:, None] - level[..., None] - slope[..., None] * powers) ** 2).sum(-1)
    weight = np.exp(-0.5 * (misfit - misfit.min(1, keepdims=True)) / noise**2)
    weight /= weight.sum()
    ends = level + slope
    mean = (weight * ends).sum()
    return float(mean), float(np.sqrt((weight * (ends - mean) ** 2).sum()))
