"""Phase prior: what the quality table expects of each preset here, before anything was trained for its score.

Also decides how much validation text the probes are scored on: scoring must not cost more than training them.
"""

from collections.abc import Sequence

from services.calibrator.envelope_model import Envelope, pass_tokens
from services.calibrator.measurement import Outcome
from services.calibrator.space import device_batches
from services.calibrator.work import Work
from shared.contracts import Contract, Rung, Shape
from shared.evaluation.rungs import tokens_for
from shared.experiment.presets import find_preset

PASSES = {Rung.CHEAP: 2, Rung.PROBE: 1}
"""score and audit, which probes of a shipped recipe go without; the audit costs less than the score, so this is
cautious"""
AFFORDABLE = {Rung.CHEAP: 0.5, Rung.PROBE: 1.0}
"""of a probe's training. Four rows, as smoke has, tell models apart by chance (docs/evaluation-rungs.md)"""
TYPICAL_PROBE = 1 / 8
"""of the target budget"""


class Expected(Contract):
    preset: str
    shape: Shape
    tok_per_sec: float
    val_bpb: float
    spread: float
    sources: tuple[str, ...]


class Prior(Contract):
    expected: tuple[Expected, ...]
    """best first; presets that do not fit are left out"""
    rung: Rung
    """what probes are scored on"""
    rung_reason: str


def prior(work: Work, envelope: Envelope, outcomes: Sequence[Outcome]) -> Prior:
    expected = [_expected(work, envelope, name) for name in work.calibration.presets]
    ranked = sorted(filter(None, expected), key=lambda one: one.val_bpb)
    rung, reason = _affordable_rung(work, outcomes)
    work.say(f"probes are scored on {rung}: {reason}")
    return Prior(expected=tuple(ranked), rung=rung, rung_reason=reason)


def _expected(work: Work, envelope: Envelope, name: str) -> Expected | None:
    shape = fitting(envelope, find_preset(name).shape)
    if shape is None:
        return None
    speed = envelope.tok_per_sec(shape, work.flops_per_token(shape))
    said = work.table.predict(shape, max(1, round(speed * work.calibration.target_seconds)))
    return Expected(
        preset=name,
        shape=shape,
        tok_per_sec=speed,
        val_bpb=said.val_bpb,
        spread=said.spread,
        sources=said.sources,
    )


def fitting(envelope: Envelope, shape: Shape) -> Shape | None:
    """It, in passes no larger than what survived here; None where not even a row does."""
    family = envelope.family(shape)
    most = family.largest_pass_tokens if family else 0
    if pass_tokens(shape) <= most:
        return shape
    rows = device_batches(shape.rows_per_step, most // shape.seq_len)
    return shape.model_copy(update={"device_batch_size": rows[0]}) if rows else None


def _affordable_rung(work: Work, outcomes: Sequence[Outcome]) -> tuple[Rung, str]:
    """By what the probes so far took to be scored."""
    rows = work.validation_rows
    smoke = tokens_for(Rung.SMOKE, rows)
    costs = sorted(outcome.eval_seconds / smoke for outcome in outcomes if outcome.is_ok and outcome.eval_seconds)
    if not costs:
        return Rung.SMOKE, "nothing is known of what scoring costs"
    return affordable_rung(costs[len(costs) // 2], rows, work.calibration.target_seconds)


def affordable_rung(token_s: float, validation_rows: int, target_s: float) -> tuple[Rung, str]:
    """What probes are scored on where a token takes so long to be scored, and why."""
    said = []
    for rung, passes in PASSES.items():
        cost_s = passes * token_s * tokens_for(rung, validation_rows)
        allowed_s = AFFORDABLE[rung] * TYPICAL_PROBE * target_s
        said.append(f"scoring a probe on {rung} would take {cost_s:.0f} s, {allowed_s:.0f} s are affordable")
        if cost_s <= allowed_s:
            return rung, "; ".join(said)
    return Rung.SMOKE, "; ".join(said)
