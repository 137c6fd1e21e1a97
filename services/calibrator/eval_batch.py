"""Which evaluation batch scores fastest here: the one that follows from the training batch, its double and its half.

The score does not depend on it but for rounding; only its cost does.
"""

from collections.abc import Sequence

from services.calibrator.experiments import Experiments
from services.calibrator.tune import FASTER
from services.calibrator.work import Work
from shared.contracts import Contract, EvaluationRecord, Rung, Status

SHARE = 0.25
"""of the phase's seconds that are left, which one try may take"""


class BatchCost(Contract):
    rows: int
    """of 2048 tokens, in one scoring pass"""
    seconds: float | None
    """scoring passes on cheap; None: it came to no number"""
    total_seconds: float = 0.0
    """with start-up and audit"""
    reason: str = ""
    """why there is no number"""


def try_batches(
    work: Work, machine: Experiments, run_id: str, usual: EvaluationRecord, end_s: float
) -> tuple[BatchCost, ...]:
    """`usual`: the run's checkpoint on cheap, scored with the batch that follows from the training batch."""
    rows = usual.eval_batch_size
    if rows is None:
        return ()
    tried = [BatchCost(rows=rows, seconds=usual.eval_seconds, total_seconds=usual.total_seconds)]
    for other in (2 * rows, rows // 2):
        if not other or usual.total_seconds > SHARE * (end_s - work.clock.spent_s):
            continue
        limit_s = min(max(30.0, end_s - work.clock.spent_s), work.clock.remaining_s)
        tried.append(_cost(other, machine.score_again(run_id, Rung.CHEAP, limit_s, other), limit_s))
        work.say(f"evaluation batch {other}: {_says(tried[-1])}, {rows} took {usual.eval_seconds:.1f} s")
    return tuple(tried)


def _cost(rows: int, record: EvaluationRecord | None, limit_s: float) -> BatchCost:
    reason = why_not(record, limit_s)
    if not reason and record and record.eval_batch_size != rows:
        reason = f"at most {record.eval_batch_size} rows are scored at once"
    if reason or record is None:
        return BatchCost(rows=rows, seconds=None, reason=reason)
    return BatchCost(rows=rows, seconds=record.eval_seconds, total_seconds=record.total_seconds)


def _says(cost: BatchCost) -> str:
    return cost.reason if cost.seconds is None else f"{cost.seconds:.1f} s on cheap"


def why_not(record: EvaluationRecord | None, limit_s: float) -> str:
    """Why an evaluation is no measurement; empty where it is one."""
    if record is None:
        return f"it took longer than {limit_s:.0f} s"
    if record.status is not Status.OK or record.val_bpb is None:
        return f"{record.status}: {record.reason}"
    return ""


def fastest(tried: Sequence[BatchCost]) -> int | None:
    """Rows of the one that is at least 3 % faster than the first, the fastest of them; else of the first. None: none
    was tried."""
    good = [(one.seconds, one.rows) for one in tried if one.seconds is not None]
    if not good:
        return None
    usual_s, usual = good[0]
    best_s, best = min(good)
    return best if best_s * FASTER <= usual_s else usual
