"""What the quality table expects of every shape once all runs of a calibration are in it.

The search's order is older than the confirming runs: when these come out other than expected, a shape that nobody
confirmed may be ahead of the chosen one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np

from services.calibrator.envelope_model import alike, model_of
from services.calibrator.findings import Findings, chosen_shape, own_table
from services.calibrator.outlook import Failures
from services.calibrator.projection import Rates
from services.calibrator.space import Candidate, NothingFits, Space
from services.calibrator.work import Work
from shared.contracts import Contract, Shape
from shared.experiment.presets import find_preset
from shared.quality import QualityTable

INTERVAL = 0.95
WIDTH = NormalDist().inv_cdf((1 + INTERVAL) / 2)


class Rival(Contract):
    """A shape that is expected to be better than the chosen one by more than the noise of two runs."""

    preset: str
    shape: Shape
    tok_per_sec: float
    val_bpb: float
    """expected at the target budget, on the rung that probes are scored on"""
    spread: float
    ahead: float
    """val_bpb below the chosen shape's at the target budget, expected"""
    low: float
    high: float
    """95 % interval of that difference, without the noise of runs"""

    @property
    def is_sure(self) -> bool:
        return self.low > 0


@dataclass(frozen=True)
class Timed:
    """A shape and how fast it trains here."""

    shape: Shape
    tok_per_sec: float

    def after(self, seconds: float) -> tuple[Shape, int]:
        return self.shape, max(1, round(self.tok_per_sec * seconds))


class Hindsight:
    def __init__(self, work: Work, found: Findings) -> None:
        self.work, self.found, self.outcomes = work, found, found.outcomes(tuned=True)
        self._offers: dict[float, list[Candidate]] = {}
        self._rates: dict[float, Rates] = {}

    @cached_property
    def table(self) -> QualityTable:
        return own_table(self.work.table, self.found)

    @property
    def target_s(self) -> float:
        return self.work.calibration.target_seconds

    @cached_property
    def equal(self) -> float:
        """Difference in val_bpb below which two shapes are equals: that of the noise of two runs."""
        noise, search = self.found.latest_noise(), self.found.search
        learned = search.noise if search else self.table.noise
        sigma = noise.floor.sigma if noise and noise.floor else learned
        return max(search.margin if search else 0.0, 2**0.5 * sigma)

    def offers(self, budgets: float = 1.0) -> list[Candidate]:
        """Every shape that fits, trains enough steps in so many target budgets and did not fail."""
        if budgets not in self._offers:
            offered = self._space(budgets * self.target_s).values()
            failures = Failures(self.outcomes)
            self._offers[budgets] = [one for one in offered if not failures.rule_out(one)]
        return self._offers[budgets]

    def _space(self, seconds: float) -> Mapping[Shape, Candidate]:
        presets = {name: find_preset(name).shape for name in self.work.calibration.presets}
        if self.found.envelope is None:
            return {}
        try:
            space = Space(
                self.found.envelope.envelope, presets, vocab_size=self.work.vocab_size, target_s=seconds
            )  # fmt: skip
        except NothingFits:
            return {}
        return space.candidates

    def timed(self, candidate: Candidate, budgets: float = 1.0) -> Timed:
        if budgets not in self._rates:
            offered = {one.shape: one for one in self.offers(budgets)}
            self._rates[budgets] = Rates(offered, self.outcomes)
        return Timed(candidate.shape, self._rates[budgets].of(candidate))

    def best(self, model: tuple[int, int, int] | None = None, budgets: float = 1.0) -> Candidate | None:
        """Expected to score lowest, of all or of one model; None where nothing of it is on offer."""
        offers = [one for one in self.offers(budgets) if model is None or model_of(one.shape) == model]
        if not offers:
            return None
        seconds = budgets * self.target_s
        asked = [self.timed(one, budgets).after(seconds) for one in offers]
        return offers[int(np.argmin(self.table.predict_many(asked).val_bpb))]

    def ahead(self, other: Timed, chosen: Timed) -> tuple[float, float]:
        """By how much the other is expected to be better at the target, and that difference's standard deviation."""
        seconds = self.target_s
        behind, spread = self.table.compare(other.after(seconds), chosen.after(seconds))
        return -behind, spread

    @cached_property
    def rival(self) -> Rival | None:
        """The best of all, when that is not the chosen shape or its equal."""
        best = self.best()
        return self.beside_chosen(best) if best else None

    def beside_chosen(self, best: Candidate) -> Rival | None:
        """None when it is the chosen shape, its equal or worse."""
        chosen = chosen_shape(self.found)
        if chosen is None or alike(best.shape, chosen.shape):
            return None
        timed = self.timed(best)
        ahead, spread = self.ahead(timed, Timed(chosen.shape, chosen.tok_per_sec))
        if ahead <= self.equal:
            return None
        low, high = interval(ahead, spread)
        said = self.table.predict_many([timed.after(self.target_s)])
        return Rival(
            preset=best.preset, shape=best.shape, tok_per_sec=timed.tok_per_sec, val_bpb=float(said.val_bpb[0]),
            spread=float(max(said.covariance()[0, 0], 0.0)) ** 0.5, ahead=ahead, low=low, high=high,
        )  # fmt: skip


def interval(mean: float, spread: float) -> tuple[float, float]:
    return mean - WIDTH * spread, mean + WIDTH * spread
