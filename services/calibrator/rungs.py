"""Phases checkpoint and rungs: the chosen point's weights, and what scoring them costs and says on each rung."""

from collections.abc import Sequence

from services.calibrator.confirm import Confirmation
from services.calibrator.eval_batch import BatchCost, fastest, try_batches, why_not
from services.calibrator.experiments import Experiments
from services.calibrator.work import Work
from shared.contracts import Contract, EvaluationRecord, Rung
from shared.evaluation.rungs import BUDGET_SHARE, tokens_for
from shared.runs.checkpoint import latest
from shared.runs.directory import RunDirectory

RUNGS = {"fast": (Rung.CHEAP, Rung.REFERENCE), "full": (Rung.CHEAP, Rung.REFERENCE, Rung.FULL)}
STARTS_S = 10.0
"""two processes that open the engine"""
AUDIT_SHARE = 0.3
"""of scoring, at most, where there are rows enough (docs/evaluation.md)"""


class KeptCheckpoint(Contract):
    run_id: str
    """empty: none could be kept"""
    num_bytes: int = 0
    hand_over_seconds: float = 0.0
    """of the training budget, for handing the weights over"""
    reason: str = ""


def keep_checkpoint(confirmation: Confirmation) -> KeptCheckpoint:
    """The confirming run of the chosen shape."""
    if confirmation.chosen is None:
        return KeptCheckpoint(run_id="", reason="no shape was chosen")
    for outcome in confirmation.outcomes:
        if outcome.probe.shape == confirmation.chosen.shape and outcome.is_ok and outcome.run_id:
            directory = RunDirectory.of(outcome.run_id)
            record = latest(directory.checkpoint_dir) if directory.has_checkpoint() else None
            if record is None:
                continue
            folder = directory.checkpoint_dir / record.folder
            training = directory.training()
            return KeptCheckpoint(
                run_id=outcome.run_id,
                num_bytes=sum(file.stat().st_size for file in folder.iterdir()),
                hand_over_seconds=training.hand_over_seconds if training else 0.0,
            )
    return KeptCheckpoint(run_id="", reason="no confirming run of the chosen shape left one")


class RungCost(Contract):
    rung: Rung
    num_tokens: int
    seconds: float
    """scoring passes"""
    total_seconds: float
    """with start-up and audit"""
    val_bpb: float
    error: float
    """against the largest rung that was measured, of the same weights"""


class RungCosts(Contract):
    run_id: str
    costs: tuple[RungCost, ...]
    left_out: tuple[str, ...]
    chosen: Rung
    """the largest that costs at most its share of the target budget"""
    reason: str
    eval_batch_size: int | None = None
    """rows of one scoring pass; None: what follows from the training batch"""
    batches: tuple[BatchCost, ...] = ()
    """the evaluation batches that were tried, on cheap; the first is what follows from the training batch"""

    def correction(self, measured_on: Rung, own_bpb: float | None) -> float:
        """What to add to a val_bpb of the rung probes were scored on, to have it on the chosen rung. own_bpb: of these
        weights, as a probe."""
        scores = {cost.rung: cost.val_bpb for cost in self.costs}
        before = scores.get(measured_on, own_bpb)
        return scores[self.chosen] - before if self.chosen in scores and before is not None else 0.0


def measure_rungs(work: Work, machine: Experiments, kept: KeptCheckpoint, allowance_s: float) -> RungCosts:
    rows = work.validation_rows
    costs: list[RungCost] = []
    left_out: list[str] = []
    batches: tuple[BatchCost, ...] = ()
    end_s = work.clock.spent_s + allowance_s
    for rung in RUNGS[work.calibration.mode] if kept.run_id else ():
        expected_s = _expected_s(costs or _of_probe(kept.run_id), tokens_for(rung, rows))
        left_s = end_s - work.clock.spent_s
        if expected_s > left_s:
            left_out.append(f"{rung}: it would take about {expected_s:.0f} s")
            continue
        if costs and costs[-1].num_tokens == tokens_for(rung, rows):
            left_out.append(f"{rung}: this corpus has no more text than {costs[-1].rung} scores")
            continue
        limit_s = min(max(30.0, left_s), work.clock.remaining_s)
        record = machine.score_again(kept.run_id, rung, limit_s, fastest(batches))
        if said := why_not(record, limit_s):
            left_out.append(f"{rung}: {said}")
            continue
        assert record
        costs.append(_told(work, rung, record))
        if work.calibration.mode == "full" and rung is Rung.CHEAP:
            batches = try_batches(work, machine, kept.run_id, record, end_s)
            costs[-1] = _with_fastest(costs[-1], batches)
    return _concluded(work, kept.run_id, costs, left_out).model_copy(
        update={"eval_batch_size": fastest(batches), "batches": batches}
    )


def _of_probe(run_id: str) -> list[RungCost]:
    """What the run's own evaluation cost."""
    record = RunDirectory.of(run_id).evaluation()
    return [_cost(record.rung.rung, record)] if record and record.rung and record.val_bpb is not None else []


def _expected_s(costs: Sequence[RungCost], num_tokens: int) -> float:
    """With the audit, which grows with the rows that are scored, and which probes go without."""
    if not costs:
        return STARTS_S
    last = costs[-1]
    audit_s = max(0.0, last.total_seconds - last.seconds - STARTS_S)
    was_audited = last.seconds > 0 and last.rung is not Rung.PROBE
    share = min(AUDIT_SHARE, audit_s / last.seconds) if was_audited else AUDIT_SHARE
    return STARTS_S + last.seconds * (1 + share) * num_tokens / last.num_tokens


def _told(work: Work, rung: Rung, record: EvaluationRecord) -> RungCost:
    work.say(f"{rung}: {record.num_tokens:,} tokens in {record.eval_seconds:.1f} s, val_bpb {record.val_bpb:.4f}")
    return _cost(rung, record)


def _with_fastest(cost: RungCost, batches: Sequence[BatchCost]) -> RungCost:
    """What the rung costs with the batch that is chosen."""
    chosen = next((one for one in batches if one.rows == fastest(batches)), None)
    if chosen is None or chosen.seconds is None:
        return cost
    return cost.model_copy(update={"seconds": chosen.seconds, "total_seconds": chosen.total_seconds})


def _cost(rung: Rung, record: EvaluationRecord) -> RungCost:
    assert record.val_bpb is not None
    return RungCost(
        rung=rung,
        num_tokens=record.num_tokens,
        seconds=record.eval_seconds,
        total_seconds=record.total_seconds,
        val_bpb=record.val_bpb,
        error=0.0,
    )


def _concluded(work: Work, run_id: str, costs: Sequence[RungCost], left_out: Sequence[str]) -> RungCosts:
    budget_s = work.calibration.target_seconds
    chosen, reason = Rung.CHEAP, "cheap, the canonical rung"
    for rung, share in BUDGET_SHARE.items():
        cost = next((one for one in costs if one.rung is rung), None)
        if cost is not None and cost.seconds <= share * budget_s:
            chosen, reason = rung, f"{rung} costs {cost.seconds / budget_s:.2%} of the budget, at most {share:.0%}"
            break
    if chosen is Rung.CHEAP and (cheap := next((one for one in costs if one.rung is Rung.CHEAP), None)):
        reason = f"cheap costs {cheap.seconds / budget_s:.1%} of the budget; larger ones cost more than their share"
    truth = costs[-1].val_bpb if costs else 0.0
    with_errors = tuple(cost.model_copy(update={"error": cost.val_bpb - truth}) for cost in costs)
    return RungCosts(run_id=run_id, costs=with_errors, left_out=tuple(left_out), chosen=chosen, reason=reason)
