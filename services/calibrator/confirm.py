"""Phase confirm: the best two or three shapes, trained with fresh seeds at the longest budget that fits.

What the quality table said of each run before it began is kept beside what the run scored: that is how far the table
can be believed on this machine.
"""

from collections.abc import Collection, Mapping, Sequence

from services.calibrator.measurement import Outcome, Probe, counting
from services.calibrator.outlook import Failures
from services.calibrator.prior import Prior
from services.calibrator.projection import is_row, row_of, went_astray
from services.calibrator.ranking import Ranked, in_order
from services.calibrator.search import SearchResult
from services.calibrator.work import Work
from shared.contracts import Contract, Shape
from shared.experiment.platform_default import Tuning
from shared.quality import QualityTable

FIRST_SEED = 1001
CANDIDATES = {"fast": 2, "full": 3}
SHORTEST_S = 10.0
LONG_ENOUGH = 1 / 3
"""of the target budget, that a confirming run must have for more than a low confidence"""
MOST_ATTEMPTS, SHARE_TO_GO_ON = 5, 0.3
"""runs where all fail, and how much of the minutes that are left one more may take"""
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
    candidates, seconds = _affordable(work, found, allowance_s)
    if not candidates:
        return Confirmation(runs=(), chosen=None, reason="no shape came to a number", seconds=0.0)
    if seconds < SHORTEST_S:
        reason = "chosen by the search alone: there was no time to confirm it"
        return Confirmation(runs=(), chosen=candidates[0], reason=reason, seconds=0.0)
    runs: list[ConfirmedRun] = []
    while following := _following(work, found, candidates, runs, seconds):
        probe = Probe(
            preset=following.preset, shape=following.shape, seconds=seconds, seed=FIRST_SEED,
            rung=prior.rung, tuning=tuning,
        )  # fmt: skip
        limit_s = 3.0 * (seconds + overhead_s(found.outcomes, {following.preset}))
        runs.append(compared(table, work.measure(probe, limit_s=limit_s)))
    ran = {run.outcome.probe.shape for run in runs}
    others = [one for one in found.ranked if one.shape in ran and one not in candidates]
    chosen, reason = choose(work, [*candidates, *others], runs, found, table)
    return Confirmation(runs=tuple(runs), chosen=chosen, reason=reason, seconds=seconds)


def _following(
    work: Work, found: SearchResult, candidates: Sequence[Ranked], runs: Sequence[ConfirmedRun], seconds: float
) -> Ranked | None:
    """The next candidate; where all of them failed, the best that the failures leave, those first that ran in the
    search, while minutes are left. None: it is enough."""
    if len(runs) < len(candidates):
        return candidates[len(runs)]
    if any(told(run.outcome) for run in runs):
        return None
    alive = _alive(found, [run.outcome for run in runs])
    cost_s = seconds + overhead_s(found.outcomes, {one.preset for one in alive[:1]})
    affordable = len(runs) < MOST_ATTEMPTS and cost_s <= SHARE_TO_GO_ON * work.clock.remaining_s
    return alive[0] if alive and affordable else None


def _alive(found: SearchResult, failed: Sequence[Outcome]) -> list[Ranked]:
    """What no failure rules out, what ran in the search first."""
    failures = Failures([*found.outcomes, *failed])
    return sorted((one for one in found.ranked if not failures.rule_out(one)), key=lambda one: not one.probes)


def told(outcome: Outcome) -> bool:
    """Whether it shows that its shape can be trained here."""
    return outcome.is_ok and not went_astray(outcome)


def _affordable(work: Work, found: SearchResult, allowance_s: float) -> tuple[list[Ranked], float]:
    """As many contenders as can be trained for SHORTEST_S, at least one, and the seconds for each."""
    candidates = contenders(found, CANDIDATES[work.calibration.mode])
    for count in range(len(candidates), 0, -1):
        beside_s = overhead_s(found.outcomes, {one.preset for one in candidates[:count]})
        seconds = longest_budget(work, beside_s, count, allowance_s)
        if seconds >= SHORTEST_S or count == 1:
            return candidates[:count], seconds
    return [], 0.0


def contenders(found: SearchResult, most: int) -> list[Ranked]:
    """The best, and those that may be as good."""
    if not found.ranked:
        return []
    best, *others = distinct(found.ranked)
    limit = UNLIKELY_SIGMAS * max(found.noise, best.spread)
    near = [one for one in others if one.val_bpb - best.val_bpb <= max(limit, found.margin)]
    tried, ran = ({one.probe.preset for one in outcomes} for outcomes in (found.outcomes, _good(found.outcomes)))
    hopeful = [one for one in near if one.preset in ran or one.preset not in tried]
    return [best, *_other_models_first(best, hopeful, ran)][:most]


def distinct(ranked: Sequence[Ranked]) -> list[Ranked]:
    """Of shapes that differ only in the size of their passes, the first: they train the same, so their runs would say
    how fast they are and nothing of quality."""
    first: dict[Shape, Ranked] = {}
    for one in ranked:
        first.setdefault(one.shape.model_copy(update={"device_batch_size": 1}), one)
    return [*first.values()]


def _other_models_first(best: Ranked, near: Sequence[Ranked], ran: Collection[str]) -> list[Ranked]:
    """Batches of the same model differ least, so confirming one of each family says more: of those that the search
    ran, for what another one takes here nobody knows."""
    return sorted(near, key=lambda one: (one.preset == best.preset or one.preset not in ran, one.val_bpb))


def longest_budget(work: Work, beside_s: float, num_runs: int, allowance_s: float) -> float:
    """Whole seconds, at most the target's. beside_s: what a run takes beside its budget (overhead_s)."""
    return float(int(min(work.calibration.target_seconds, allowance_s / num_runs - beside_s)))


def overhead_s(outcomes: Sequence[Outcome], presets: Collection[str]) -> float:
    """Seconds a run of these presets takes beside its budget, at most, by their own outcomes where there are any."""
    good = _good(outcomes)
    own = [one for one in good if one.probe.preset in presets]
    return max((one.wall_seconds - one.probe.seconds for one in own or good), default=20.0)


def _good(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [one for one in outcomes if one.is_ok]


def compared(table: QualityTable, outcome: Outcome) -> ConfirmedRun:
    if not outcome.is_ok or not outcome.num_tokens:
        return ConfirmedRun(outcome=outcome, said=None, said_spread=0.0)
    said = table.predict(outcome.probe.shape, outcome.num_tokens)
    return ConfirmedRun(outcome=outcome, said=said.val_bpb, said_spread=said.spread)


def choose(
    work: Work, candidates: Sequence[Ranked], runs: Sequence[ConfirmedRun], found: SearchResult, table: QualityTable
) -> tuple[Ranked | None, str]:
    """What the table, now with the confirming runs too, expects to be best at the target. At the budget of the runs a
    quick learner is ahead too early."""
    ran = {run.outcome.probe.shape: run.outcome for run in runs if told(run.outcome)}
    alive = [one for one in candidates if one.shape in ran]
    rows = [row_of(one, table) for one in counting(run.outcome for run in runs) if is_row(one)]
    if not rows:
        left = alive or _alive(found, [run.outcome for run in runs])
        return [*left, *candidates][0], "chosen by the search: no confirming run told its score"
    expected = _in_hindsight(work, ran, table.with_rows(rows))
    told_now = [one.model_copy(update={"val_bpb": expected[one.shape]}) for one in alive]
    best, first = in_order(told_now, found.margin)[0], told_now[0]
    how = "learned nothing" if any(went_astray(run.outcome) for run in runs) else "came to no number"
    failed = "" if alive[0] is candidates[0] else f"the search's first {how} when it was confirmed; "
    chosen = next(one for one in alive if one.shape == best.shape)
    if best.shape == first.shape:
        return chosen, f"{failed}first by the search, confirmed by a run of its own"
    than, ahead = "the next" if failed else "the search's first", first.val_bpb - best.val_bpb
    if ahead <= 0:
        return chosen, f"{failed}as good as {than} within {found.margin:.4f}, with less memory or faster"
    return chosen, f"{failed}after the confirming runs it is expected to be {ahead:.4f} bpb better than {than}"


def _in_hindsight(work: Work, ran: Mapping[Shape, Outcome], table: QualityTable) -> dict[Shape, float]:
    """Expected val_bpb at the target of every shape that ran, at the speed that its run had."""
    seconds = work.calibration.target_seconds
    asked = [(shape, max(1, round((outcome.tok_per_sec or 0.0) * seconds))) for shape, outcome in ran.items()]
    return dict(zip(ran, table.predict_many(asked).val_bpb.tolist(), strict=True))
