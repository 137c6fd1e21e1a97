"""The platform default that follows from the findings, with what is expected of it and how sure that is."""

from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from services.calibrator.confirm import LONG_ENOUGH
from services.calibrator.envelope_model import Band
from services.calibrator.findings import SLOWER, Findings, chosen_shape, kept_speed, own_table
from services.calibrator.hindsight import Hindsight, Rival
from services.calibrator.measurement import Outcome, disturbance
from services.calibrator.ranking import Ranked
from services.calibrator.unmeasured import next_step, reason_of, start_of
from services.calibrator.work import Work, describe_shape
from shared.contracts import Rung
from shared.experiment.platform_default import Confidence, NoiseFloor, PlatformDefault

SURE = 0.9
LOWER = {Confidence.HIGH: Confidence.MEDIUM, Confidence.MEDIUM: Confidence.LOW, Confidence.LOW: Confidence.LOW}
"""of what was measured"""


def platform_default(work: Work, found: Findings, kept: PlatformDefault | None = None) -> PlatformDefault:
    """There always is one. `kept`: an earlier one that was measured on this machine; where nothing could be measured
    now the shape is its shape."""
    chosen = chosen_shape(found)
    if chosen is None:
        start = start_of(work, found, kept)
        return _default(
            work, found, family=start.preset, shape=start.shape, tuning=start.tuning, val_bpb=None, spread=None,
            tok_per_sec=None, memory_mb=None, confidence=Confidence.NONE, reason=reason_of(work, found, start),
            next_step=next_step(work, found),
        )  # fmt: skip
    confidence, reason = how_sure(work, found)
    expected = expectation(work, found, chosen)
    return _default(
        work, found, family=chosen.preset, shape=chosen.shape, tuning=found.tuning,
        val_bpb=expected.val_bpb + rung_correction(found), spread=expected.spread, tok_per_sec=chosen.tok_per_sec,
        memory_mb=chosen.memory_mb, confidence=confidence, reason=reason,
    )  # fmt: skip


def _default(work: Work, found: Findings, **own: Any) -> PlatformDefault:
    """With what follows from the machine and the phases, whatever was chosen."""
    calibration = work.calibration
    frameworks = [outcome.framework for outcome in found.outcomes() if outcome.framework]
    return PlatformDefault(
        **own,
        hardware_key=calibration.hardware_key,
        target=calibration.target,
        engine=calibration.engine,
        device=calibration.device,
        driver_version=calibration.driver_version,
        framework=frameworks[-1] if frameworks else "",
        eval_batch_size=found.rungs.eval_batch_size if found.rungs else None,
        rung=found.rungs.chosen if found.rungs else Rung.CHEAP,
        dataset=calibration.dataset,
        budget_seconds=calibration.target_seconds,
        noise=noise_floor(found),
        eval_signature=calibration.eval_signature,
        recipe_sha=calibration.recipe_sha,
        made_at=datetime.now(UTC),
        mode=calibration.mode,
        calibration=calibration.id,
    )


def noise_floor(found: Findings) -> NoiseFloor | None:
    """With what pairing by seed is worth, where that was measured."""
    noise = found.latest_noise()
    if noise is None or noise.floor is None or found.pairing is None:
        return noise.floor if noise else None
    return noise.floor.model_copy(update={"pairing": found.pairing.pairing})


class Expectation(NamedTuple):
    val_bpb: float
    """at the target budget, on the rung that probes are scored on"""
    spread: float
    """one standard deviation"""
    source: Literal["table", "curve"]


def expectation(work: Work, found: Findings, chosen: Ranked) -> Expectation:
    """What the table says now that it knows all runs, or the shape's own curve of the search if that is surer."""
    tokens = max(1, round(chosen.tok_per_sec * work.calibration.target_seconds))
    predictions = own_table(work.table, found).predict_many([(chosen.shape, tokens)])
    spread = float(predictions.covariance()[0, 0]) ** 0.5
    if chosen.source == "curve" and chosen.spread <= spread:
        return Expectation(chosen.val_bpb, chosen.spread, "curve")
    return Expectation(float(predictions.val_bpb[0]), spread, "table")


def rung_correction(found: Findings) -> float:
    """From the rung the probes were scored on to the default's, by the one checkpoint that was scored on both."""
    if found.rungs is None or found.prior is None or found.confirm is None:
        return 0.0
    scored = next((run for run in found.confirm.outcomes if run.run_id == found.rungs.run_id), None)
    return found.rungs.correction(found.prior.rung, scored.val_bpb if scored else None)


def how_sure(work: Work, found: Findings) -> tuple[Confidence, str]:
    confidence, reason = _by_what_was_trained(work, found)
    if (kept := kept_speed(found)) < SLOWER:
        confidence = LOWER[confidence]
        reason += f"; the machine became slower while it was measured, a shape trained at {kept:.0%} of its first speed"
    if disturbed := disturbance(found.outcomes()):
        reason += f"; {disturbed}, and each counts only where its shape has no other: let the machine do nothing else"
        if not any(one.is_undisturbed for one in _confirming(found)):
            confidence = LOWER[confidence]
    rival = Hindsight(work, found).rival
    if rival is None:
        return confidence, reason
    lowered = LOWER[confidence] if rival.is_sure or confidence is Confidence.HIGH else confidence
    return lowered, f"{reason}; {describe_rival(rival)}"


def describe_rival(rival: Rival) -> str:
    return (
        f"{rival.preset} {describe_shape(rival.shape)} is expected to be {rival.ahead:.4f} better in hindsight (95 % "
        f"interval {rival.low:.4f} to {rival.high:.4f}), but no run confirmed that: calibrate with more minutes"
    )


def _by_what_was_trained(work: Work, found: Findings) -> tuple[Confidence, str]:
    confirm, search = found.confirm, found.search
    if found.preferred is not None:
        failed = confirm and confirm.runs and not any(one.is_ok for one in confirm.outcomes)
        return Confidence.LOW, found.preferred.reason + (f"; {_why_unconfirmed(work, found)}" if failed else "")
    seconds = confirmed_seconds(found)
    if confirm is None or not seconds:
        return Confidence.LOW, f"predicted; {_why_unconfirmed(work, found)}"
    seeds = f"{seconds:g} s of {work.calibration.target_seconds:g} s trained"
    if seconds < LONG_ENOUGH * work.calibration.target_seconds:
        return Confidence.LOW, f"{confirm.reason}; {seeds}"
    sure = search.sure if search else 0.0
    if sure > SURE and noise_floor(found) is not None:
        return Confidence.HIGH, f"{confirm.reason}; {seeds}; best with probability {sure:.0%}"
    return Confidence.MEDIUM, f"{confirm.reason}; {seeds}; another shape may be as good (probability {1 - sure:.0%})"


def _why_unconfirmed(work: Work, found: Findings) -> str:
    runs, chosen = found.confirm.outcomes if found.confirm else (), chosen_shape(found)
    if runs and not any(one.is_ok for one in runs):
        ends = ", ".join(sorted({one.status.replace("_", " ") for one in runs}))
        return f"no confirming run came to a number ({ends}): autoresearch calibrate --force tries them again"
    if chosen is not None and chosen.band is Band.TOO_LARGE:
        share = chosen.memory_mb / work.calibration.memory_mb
        return f"it takes {share:.0%} of the device's memory, and nothing that ran takes less"
    return "no run of the chosen shape was trained to its end for it"


def confirmed_seconds(found: Findings) -> float:
    """The longest that the chosen shape was trained to confirm it; 0 when no such run came to a number."""
    return max((run.probe.seconds for run in _confirming(found)), default=0.0)


def _confirming(found: Findings) -> list[Outcome]:
    """Runs of the chosen shape that came to a number. Where there are any, seeds of the noise that were trained as long
    as the confirming runs count too."""
    if found.confirm is None or found.confirm.chosen is None:
        return []
    longer = (found.extend.longer.outcome,) if found.extend and found.extend.longer else ()
    seeds = [one for one in (found.noise.outcomes if found.noise else ()) if one.probe.seconds >= found.confirm.seconds]
    groups = ((*found.confirm.outcomes, *longer), seeds)
    own, more = (
        [one for one in runs if one.is_ok and one.probe.shape == found.confirm.chosen.shape] for runs in groups
    )
    return [*own, *more] if own else []
