"""Writes report.json, report.md, plots/ and promotion/ into the calibration's folder."""

from datetime import UTC, datetime
from pathlib import Path

from services.calibrator.findings import Findings
from services.calibrator.report.claims import claims_of
from services.calibrator.report.contract import Report, Scaling
from services.calibrator.report.markdown import as_markdown
from services.calibrator.report.phases import phases_of
from services.calibrator.report.plots import draw_all
from services.calibrator.report.points import Points
from services.calibrator.report.promotion import write_bundle
from services.calibrator.report.scaling import scaling_of
from services.calibrator.report.sections import (
    asked_of,
    candidate_of,
    checks_of,
    failures_of,
    families_of,
    machine_of,
    noise_of,
    rungs_of,
    tuning_of,
    unmeasured_candidate_of,
)
from services.calibrator.report.subject import Subject
from services.calibrator.report.zones import beside_of, zones_of
from services.calibrator.work import Work
from shared.experiment.platform_default import PlatformDefault
from shared.files import write_atomic


def write_report(folder: Path, work: Work, found: Findings, default: PlatformDefault) -> Path:
    """Path of report.md. All phases must be there. A plot that cannot be drawn is left out, with a note event.

    Where nothing was measured there is nothing to draw, nor anything that other machines could use.
    """
    subject = Subject(folder, work, found, default)
    points = Points(subject) if default.is_measured else None
    report = build_report(subject, points)
    write_atomic(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    plots, failures = draw_all(subject, points, folder / "plots") if points else ({}, [])
    for failure in failures:
        work.say(failure)
    write_atomic(folder / "report.md", as_markdown(report, plots))
    if points:
        write_bundle(subject)
    return folder / "report.md"


def build_report(subject: Subject, points: Points | None) -> Report:
    """`points` None: nothing was measured."""
    return Report(
        made_at=datetime.now(UTC),
        asked=asked_of(subject),
        machine=machine_of(subject),
        candidate=candidate_of(subject, points) if points else unmeasured_candidate_of(subject),
        failures=failures_of(subject),
        zones=zones_of(subject, points) if points else (),
        beside=beside_of(subject, points) if points else (),
        scaling=scaling_of(subject, points) if points else Scaling(reason="nothing was measured"),
        checks=checks_of(subject),
        claims=claims_of(subject, points) if points else (),
        noise=noise_of(subject),
        rungs=rungs_of(subject),
        families=families_of(subject),
        tuning=tuning_of(subject),
        phases=phases_of(subject),
        evidence=subject.book.entries(),  # last: the sections above enter theirs
    )
