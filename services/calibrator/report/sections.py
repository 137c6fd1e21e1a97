"""The sections of the report that say again, with sources, what a phase found."""

from services.calibrator.conclusion import noise_floor
from services.calibrator.confirm import ConfirmedRun
from services.calibrator.envelope_model import Family, pass_tokens
from services.calibrator.report.contract import (
    Asked,
    Candidate,
    Check,
    Checks,
    Effect,
    Failure,
    FamilyRow,
    MachineKnown,
    NoiseReport,
    RungReport,
    RungRow,
    Tried,
    TuningReport,
)
from services.calibrator.report.points import Points
from services.calibrator.report.subject import Subject, id_of, ids_of, merged
from services.calibrator.space import device_batches
from shared.experiment.presets import find_preset

RUNS = (1, 3, 8)
"""for which the smallest effect is told"""


def asked_of(subject: Subject) -> Asked:
    return Asked(calibration=subject.work.calibration, sources=subject.asked_file())


def machine_of(subject: Subject) -> MachineKnown:
    found = subject.fingerprint
    return MachineKnown(
        known=found.known, nearest=found.nearest, standing=found.standing, versions=found.versions,
        left_out=subject.work.left_out,
    )  # fmt: skip


def candidate_of(subject: Subject, points: Points) -> Candidate:
    winner, search = points.winner, subject.search
    tokens = winner.tok_per_sec * subject.target_s
    later = subject.found.extend.outcomes if subject.found.extend else subject.noise.outcomes
    runs = merged(winner.sources, ids_of([*subject.confirm.outcomes, *search.outcomes, *later]))
    return Candidate(
        default=subject.default,
        probe_rung=subject.prior.rung,
        rung_correction=subject.correction,
        band=winner.band,
        target_tokens=round(tokens),
        target_steps=int(tokens / winner.shape.total_batch_size),
        sure=0.0 if subject.found.preferred else search.sure,
        margin=search.margin,
        rival=subject.hindsight.rival,
        sources=merged(
            subject.asked_file(), runs, ids_of(subject.noise.outcomes), filter(None, [subject.rungs.run_id])
        ),
    )


def unmeasured_candidate_of(subject: Subject) -> Candidate:
    return Candidate(
        default=subject.default, probe_rung=subject.prior.rung, rung_correction=0.0, band=None, target_tokens=None,
        target_steps=None, sure=0.0, margin=0.0, sources=merged(subject.asked_file(), ids_of(subject.found.outcomes())),
    )  # fmt: skip


def failures_of(subject: Subject) -> tuple[Failure, ...]:
    return tuple(
        Failure(
            phase=phase, preset=one.probe.preset, shape=one.probe.shape, seconds=one.probe.seconds, status=one.status,
            reason=one.reason, sources=(id_of(one),),
        )
        for phase, one in subject.found.failures()
    )  # fmt: skip


def checks_of(subject: Subject) -> Checks:
    """What the table said of each confirming run, with and without this calibration's own rows."""
    extended = subject.found.extend
    longer = (extended.longer,) if extended and extended.longer else ()
    runs = tuple(check for run in (*subject.confirm.runs, *longer) if (check := _check(subject, run)))
    if not runs:
        return Checks(reason=subject.confirm.reason)
    errors = [abs(one.val_bpb - one.said) for one in runs]
    before = [abs(one.val_bpb - one.elsewhere) for one in runs]
    return Checks(
        runs=runs,
        mean_error=sum(errors) / len(runs),
        mean_error_elsewhere=sum(before) / len(runs),
        within_one=sum(error <= one.said_spread for error, one in zip(errors, runs, strict=True)),
        within_two=sum(error <= 2 * one.said_spread for error, one in zip(errors, runs, strict=True)),
        sources=merged(*(one.sources for one in runs)),
    )


def _check(subject: Subject, run: ConfirmedRun) -> Check | None:
    outcome = run.outcome
    if run.said is None or outcome.val_bpb is None:
        return None
    before = subject.work.table.predict(outcome.probe.shape, outcome.num_tokens)
    return Check(
        run=id_of(outcome),
        preset=outcome.probe.preset,
        shape=outcome.probe.shape,
        seconds=outcome.probe.seconds,
        num_tokens=outcome.num_tokens,
        val_bpb=outcome.val_bpb,
        said=run.said,
        said_spread=run.said_spread,
        elsewhere=before.val_bpb,
        elsewhere_spread=before.spread,
        sources=merged([id_of(outcome)], ids_of(subject.search.outcomes), subject.book.rows(before.sources)),
    )


def noise_of(subject: Subject) -> NoiseReport:
    noise, found = subject.noise, subject.found
    pairing = found.pairing.reason if found.pairing else "not measured"
    last_minutes = found.extend.reason if found.extend else ""
    if noise.floor is None:
        return NoiseReport(floor=None, reason=noise.reason, pairing=pairing, last_minutes=last_minutes)
    effects = tuple(Effect(num_runs=count, val_bpb=noise.floor.smallest_effect(count)) for count in RUNS)
    runs = [*noise.outcomes, *(found.pairing.outcomes if found.pairing else ())]
    sources = ids_of([outcome for outcome in runs if outcome.is_undisturbed])
    return NoiseReport(
        floor=noise_floor(found), reason=noise.reason, effects=effects, sources=sources, pairing=pairing,
        last_minutes=last_minutes,
    )  # fmt: skip


def rungs_of(subject: Subject) -> RungReport:
    found = subject.rungs
    rows = tuple(
        RungRow(
            rung=cost.rung, num_tokens=cost.num_tokens, seconds=cost.seconds, total_seconds=cost.total_seconds,
            share_of_budget=cost.seconds / subject.target_s, val_bpb=cost.val_bpb, error=cost.error,
            chosen=cost.rung is found.chosen,
        )
        for cost in found.costs
    )  # fmt: skip
    sources = (found.run_id,) if rows else ()
    return RungReport(
        rows=rows, chosen=found.chosen, reason=found.reason, left_out=found.left_out, sources=sources,
        eval_batch_size=found.eval_batch_size, batches=found.batches,
    )  # fmt: skip


def families_of(subject: Subject) -> tuple[FamilyRow, ...]:
    return tuple(_family(subject, family) for family in subject.envelope.envelope.families)


def _family(subject: Subject, family: Family) -> FamilyRow:
    return FamilyRow(
        preset=family.preset, depth=family.depth, d_model=family.d_model, heads=family.heads,
        memory_mb=family.memory_mb, pass_seconds=family.pass_seconds, largest_pass_tokens=family.largest_pass_tokens,
        tok_per_sec=_speed_of(subject, family), how="measured" if subject.at_largest(family) else "inferred",
        sources=subject.book.probes(family.probes) or ids_of(subject.found.outcomes()),
    )  # fmt: skip


def _speed_of(subject: Subject, family: Family) -> float | None:
    if speeds := [one.tok_per_sec for one in subject.at_largest(family) if one.tok_per_sec]:
        return max(speeds)
    shape = find_preset(family.preset).shape
    batches = device_batches(1 << 20, family.largest_pass_tokens // shape.seq_len)
    if not batches:
        return None
    rows = {"device_batch_size": batches[0], "total_batch_size": batches[0] * shape.seq_len}
    full = shape.model_copy(update=rows)
    assert pass_tokens(full) <= family.largest_pass_tokens
    return subject.envelope.envelope.tok_per_sec(full, subject.work.flops_per_token(full))


def tuning_of(subject: Subject) -> TuningReport:
    tuned = subject.tuned
    tried = tuple(
        Tried(
            tuning=one.probe.tuning, status=one.status, tok_per_sec=one.tok_per_sec, sources=(id_of(one),)
        )
        for one in tuned.tried
    )  # fmt: skip
    return TuningReport(tuning=tuned.tuning, reason=tuned.reason, tried=tried, left_out=tuned.left_out)
