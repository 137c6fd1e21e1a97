"""Writes report.json, report.md, plots/ and promotion/ into the calibration's folder."""

from datetime import UTC, datetime
from pathlib import Path

from services.calibrator.findings import Findings
from services.calibrator.report.claims import claims_of
from services.calibrator.report.contract import Report
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
    families_of,
    machine_of,
    noise_of,
    rungs_of,
    tuning_of,
)
from services.calibrator.report.subject import Subject
from services.calibrator.report.zones import beside_of, zones_of
from services.calibrator.work import Work
from shared.experiment.platform_default import PlatformDefault
from shared.files import write_atomic


def write_report(folder: Path, work: Work, found: Findings, default: PlatformDefault) -> Path:
    """Path of report.md. All phases must be there. A plot that cannot be drawn is left out, with a note event."""
    subject = Subject(folder, work, found, default)
    points = Points(subject)
    report = build_report(subject, points)
    write_atomic(folder / "report.json", report.model_dump_json(indent=1) + "\n")
    plots, failures = draw_all(subject, points, folder / "plots")
    for failure in failures:
        work.say(failure)
    write_atomic(folder / "report.md", as_markdown(report, plots))
    write_bundle(subject)
    return folder / "report.md"


def build_report(subject: Subject, points: Points) -> Report:
    return Report(
        made_at=datetime.now(UTC),
        asked=asked_of(subject),
        machine=machine_of(subject),
        candidate=candidate_of(subject, points),
        zones=zones_of(subject, points),
        beside=beside_of(subject, points),
        scaling=scaling_of(subject, points),
        checks=checks_of(subject),
        claims=claims_of(subject, points),
        noise=noise_of(subject),
        rungs=rungs_of(subject),
        families=families_of(subject),
        tuning=tuning_of(subject),
        phases=phases_of(subject),
        evidence=subject.book.entries(),  # last: the sections above enter theirs
    )
