"""Phase confirm: the best two or three shapes, trained with fresh seeds at the longest budget that fits.

What the quality table said of each run before it began is kept beside what the run scored: that is how far the table
can be believed on this machine.
"""

from collections.abc import Sequence

from services.calibrator.measurement import Outcome, Probe
from services.calibrator.prior import Prior
from services.calibrator.ranking import Ranked
from services.calibrator.search import SearchResult
from services.calibrator.work import Work
from shared.contracts import Contract, Shape
from shared.experiment.platform_default import Tuning
from shared.quality import QualityTable

FIRST_SEED = 1001
CANDIDATES = {"fast": 2, "full": 3}
SHORTEST_S = 10.0
UNLIKELY_SIGMAS = 3.0
"""behind the best, beyond which a candidate is not tried"""


class ConfirmedRun(Contract):
    outcome: Outcome
    said: float | None
    """by the table, of this shape after these tokens, before the run"""
    said_spread: float


class Confirmation(Contract):
    runs: tuple[ConfirmedRun, ...]
    chosen: Ranked | None
    """None when the search found nothing that runs"""
    reason: str
    seconds: float
    """budget of the runs; 0 when there were none"""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        return tuple(run.outcome for run in self.runs)


def confirm(
    work: Work, found: SearchResult, prior: Prior, tuning: Tuning, table: QualityTable, allowance_s: float
) -> Confirmation:
    """`table`: with this machine's own rows."""
    candidates = contenders(found, CANDIDATES[work.calibration.mode])
    if not candidates:
        return Confirmation(runs=(), chosen=None, reason="no shape came to a number", seconds=0.0)
    while (seconds := longest_budget(work, found.outcomes, len(candidates), allowance_s)) < SHORTEST_S:
        if len(candidates) == 1:
            break
        candidates = candidates[:-1]
    if seconds < SHORTEST_S:
        reason = "chosen by the search alone: there was no time to confirm it"
        return Confirmation(runs=(), chosen=candidates[0], reason=reason, seconds=0.0)
    runs = []
    for candidate in candidates:
        probe = Probe(
            preset=candidate.preset, shape=candidate.shape, seconds=seconds, seed=FIRST_SEED,
            rung=prior.rung, tuning=tuning,
        )  # fmt: skip
        outcome = work.measure(probe, limit_s=3.0 * (seconds + _overhead_s(found.outcomes)))
        runs.append(_compared(table, outcome))
    chosen, reason = _choose(candidates, runs, found)
    return Confirmation(runs=tuple(runs), chosen=chosen, reason=reason, seconds=seconds)


def contenders(found: SearchResult, most: int) -> list[Ranked]:
    """The best, and those that may be as good. Of shapes that differ only in the size of their passes, the first: they
    train the same, so their runs would say how fast they are and nothing of quality."""
    if not found.ranked:
        return []
    first: dict[Shape, Ranked] = {}
    for one in found.ranked:
        first.setdefault(one.shape.model_copy(update={"device_batch_size": 1}), one)
    best, *others = first.values()
    limit = UNLIKELY_SIGMAS * max(found.noise, best.spread)
    near = [one for one in others if one.val_bpb - best.val_bpb <= max(limit, found.margin)]
    return [best, *_other_models_first(best, near)][:most]


def _other_models_first(best: Ranked, near: Sequence[Ranked]) -> list[Ranked]:
    """Batches of the same model differ least, so confirming one of each family says more."""
    return sorted(near, key=lambda one: (one.preset == best.preset, one.val_bpb))


def longest_budget(work: Work, outcomes: Sequence[Outcome], num_runs: int, allowance_s: float) -> float:
    """Whole seconds, at most the target's."""
    each_s = allowance_s / num_runs - _overhead_s(outcomes)
    return float(int(min(work.calibration.target_seconds, each_s)))


def _overhead_s(outcomes: Sequence[Outcome]) -> float:
    beside = [outcome.wall_seconds - outcome.probe.seconds for outcome in outcomes if outcome.is_ok]
    return max(beside, default=20.0)


def _compared(table: QualityTable, outcome: Outcome) -> ConfirmedRun:
    if not outcome.is_ok or not outcome.num_tokens:
        return ConfirmedRun(outcome=outcome, said=None, said_spread=0.0)
    said = table.predict(outcome.probe.shape, outcome.num_tokens)
    return ConfirmedRun(outcome=outcome, said=said.val_bpb, said_spread=said.spread)


def _choose(
    candidates: Sequence[Ranked], runs: Sequence[ConfirmedRun], found: SearchResult
) -> tuple[Ranked | None, str]:
    """The search's order stands unless a confirming run was better by more than the noise of two runs."""
    good = [run.outcome for run in runs if run.outcome.is_ok]
    scores: dict[Shape, float] = {outcome.probe.shape: outcome.val_bpb or 0.0 for outcome in good}
    measured = [one for one in candidates if one.shape in scores]
    if not measured:
        return candidates[0], "chosen by the search: no confirming run came to its end"
    first = measured[0]
    lowest = min(measured, key=lambda one: scores[one.shape])
    ahead = scores[first.shape] - scores[lowest.shape]
    if ahead > max(found.margin, 2**0.5 * found.noise):
        return lowest, f"its confirming run was {ahead:.4f} bpb better than that of the search's first"
    beside = f", within {max(found.margin, 2**0.5 * found.noise):.4f} of the best" if lowest is not first else ""
    return first, f"first by the search, confirmed by a run of its own{beside}"
