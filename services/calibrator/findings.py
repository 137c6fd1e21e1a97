"""What the phases found, in order; and the platform default that follows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.calibrator.confirm import Confirmation
from services.calibrator.envelope import EnvelopeFound
from services.calibrator.envelope_model import Band
from services.calibrator.fingerprint import Fingerprint
from services.calibrator.measurement import Outcome
from services.calibrator.noise import Noise
from services.calibrator.prior import Prior
from services.calibrator.projection import row_of
from services.calibrator.ranking import Ranked
from services.calibrator.rungs import KeptCheckpoint, RungCosts
from services.calibrator.search import SearchResult
from services.calibrator.tune import Tuned
from services.calibrator.work import Work
from shared.contracts import Rung
from shared.experiment.platform_default import Confidence, PlatformDefault, Tuning
from shared.quality import QualityTable

LONG_ENOUGH = 1 / 3
"""of the target budget, that a high confidence needs confirmed"""
SURE = 0.9


@dataclass
class Findings:
    """Filled phase by phase; None until then."""

    fingerprint: Fingerprint | None = None
    tune: Tuned | None = None
    envelope: EnvelopeFound | None = None
    prior: Prior | None = None
    search: SearchResult | None = None
    confirm: Confirmation | None = None
    checkpoint: KeptCheckpoint | None = None
    rungs: RungCosts | None = None
    noise: Noise | None = None

    def outcomes(self) -> list[Outcome]:
        """Of all phases so far, each once."""
        groups: tuple[Sequence[Outcome], ...] = (
            self.tune.tried if self.tune else (),
            self.envelope.outcomes if self.envelope else (),
            self.search.outcomes if self.search else (),
            self.confirm.outcomes if self.confirm else (),
            self.noise.outcomes if self.noise else (),
        )
        return list({outcome.probe.key: outcome for group in groups for outcome in group}.values())


def own_table(table: QualityTable, found: Findings) -> QualityTable:
    """With what this calibration measured so far, on the rung that probes are scored on."""
    rung = found.prior.rung if found.prior else None
    outcomes = [one for one in found.outcomes() if one.is_ok and one.num_tokens and one.probe.rung is rung]
    table = replace(table, rung=rung)
    return table.with_rows([row_of(outcome, table) for outcome in outcomes])


def chosen_shape(found: Findings) -> Ranked | None:
    """Confirmed, else first of the search, else the best that the table expects of what ran, else the smallest."""
    if found.confirm is not None and found.confirm.chosen is not None:
        return found.confirm.chosen
    if found.search is not None and found.search.ranked:
        return found.search.ranked[0]
    if found.prior is not None and found.prior.expected and found.envelope is not None:
        one, envelope = found.prior.expected[0], found.envelope.envelope
        return Ranked(
            preset=one.preset,
            shape=one.shape,
            val_bpb=one.val_bpb,
            spread=one.spread,
            source="table",
            tok_per_sec=one.tok_per_sec,
            memory_mb=envelope.memory_of(one.shape),
            band=envelope.band(one.shape),
        )
    return None


def platform_default(work: Work, found: Findings) -> PlatformDefault:
    """ValueError when nothing ran at all."""
    chosen = chosen_shape(found)
    if chosen is None or chosen.tok_per_sec <= 0 or chosen.band is Band.TOO_LARGE:
        failures = [f"{outcome.status}: {outcome.reason}" for outcome in found.outcomes() if not outcome.is_ok]
        why = failures[0] if failures else "there was no time to try one"
        raise ValueError(f"no shape ran on {work.calibration.device}: {why}")
    calibration = work.calibration
    confidence, reason = how_sure(work, found)
    frameworks = [outcome.framework for outcome in found.outcomes() if outcome.framework]
    rung = found.rungs.chosen if found.rungs else Rung.CHEAP
    val_bpb, spread = expectation(work, found, chosen)
    return PlatformDefault(
        hardware_key=calibration.hardware_key,
        target=calibration.target,
        engine=calibration.engine,
        device=calibration.device,
        driver_version=calibration.driver_version,
        framework=frameworks[-1] if frameworks else "",
        family=chosen.preset,
        shape=chosen.shape,
        tuning=found.tune.tuning if found.tune else Tuning(),
        rung=rung,
        dataset=calibration.dataset,
        budget_seconds=calibration.target_seconds,
        val_bpb=val_bpb + rung_correction(found),
        spread=spread,
        tok_per_sec=chosen.tok_per_sec,
        memory_mb=chosen.memory_mb,
        confidence=confidence,
        reason=reason,
        noise=found.noise.floor if found.noise else None,
        eval_signature=calibration.eval_signature,
        recipe_sha=calibration.recipe_sha,
        made_at=datetime.now(UTC),
        mode=calibration.mode,
        calibration=calibration.id,
    )


def expectation(work: Work, found: Findings, chosen: Ranked) -> tuple[float, float]:
    """val_bpb at the target budget and its standard deviation: what the search said, or, if that is surer, what the
    table says now that it knows the confirming and noise runs too."""
    tokens = max(1, round(chosen.tok_per_sec * work.calibration.target_seconds))
    table = own_table(work.table, found)
    predictions = table.predict_many([(chosen.shape, tokens)])
    spread = float(predictions.covariance()[0, 0]) ** 0.5
    if chosen.probes and chosen.spread <= spread:
        return chosen.val_bpb, chosen.spread
    return float(predictions.val_bpb[0]), spread


def rung_correction(found: Findings) -> float:
    """From the rung the probes were scored on to the default's, by the one checkpoint that was scored on both."""
    if found.rungs is None or found.prior is None or found.confirm is None:
        return 0.0
    scored = next((run for run in found.confirm.outcomes if run.run_id == found.rungs.run_id), None)
    return found.rungs.correction(found.prior.rung, scored.val_bpb if scored else None)


def how_sure(work: Work, found: Findings) -> tuple[Confidence, str]:
    confirm, search, noise = found.confirm, found.search, found.noise
    if confirm is None or not any(outcome.is_ok for outcome in confirm.outcomes):
        return Confidence.LOW, "predicted; no run of the chosen shape was trained to its end for it"
    seeds = f"{confirm.seconds:g} s of {work.calibration.target_seconds:g} s trained"
    if confirm.seconds < LONG_ENOUGH * work.calibration.target_seconds:
        return Confidence.LOW, f"{confirm.reason}; {seeds}"
    sure = search.sure if search else 0.0
    if sure > SURE and noise is not None and noise.floor is not None:
        return Confidence.HIGH, f"{confirm.reason}; {seeds}; best with probability {sure:.0%}"
    return Confidence.MEDIUM, f"{confirm.reason}; {seeds}; another shape may be as good (probability {1 - sure:.0%})"
