"""The promotion bundle: what another machine, or this one after a new disk, takes over with `autoresearch defaults`."""

import json
from pathlib import Path

from services.calibrator.projection import row_of
from services.calibrator.report.subject import Subject
from shared.calibration.promotion import BUNDLE, DEFAULT_FILE, ROWS_FILE, RUNGS_FILE
from shared.files import write_atomic
from shared.quality import QualityRow, write_rows

README = """# Platform default of {key}

{engine} on {device}, calibrated {date} in mode {mode}: {family}, val_bpb {val_bpb:.4f} +- {spread:.4f} expected after
{seconds:g} s, confidence {confidence}.

- `{default}`: the shape, tuning, rung and noise floor.
- `{rungs}`: what scoring costs on each rung, and how far the scores of one checkpoint differ.
- `{rows}`: {num_rows} rows of val_bpb by shape and tokens, on dataset {dataset}. They hold on any machine that has the
  same dataset; later calibrations predict with them.

To use it, copy this folder to the other machine and run there:

    autoresearch defaults promote {bundle}

A default of another hardware key is kept for comparison and as a first guess for calibrations of machines like it. Only
a machine with the same hardware key trains with it. Nothing in this folder was written by a recipe.
"""


def write_bundle(subject: Subject) -> Path:
    folder = subject.folder / BUNDLE
    folder.mkdir(exist_ok=True)
    rows = rows_to_share(subject)
    write_atomic(folder / DEFAULT_FILE, subject.default.model_dump_json(indent=2) + "\n")
    write_atomic(folder / RUNGS_FILE, json.dumps(subject.rungs.model_dump(mode="json"), indent=2) + "\n")
    write_rows(folder / ROWS_FILE, rows)
    write_atomic(folder / "README.md", _readme(subject, len(rows)))
    return folder


def rows_to_share(subject: Subject) -> list[QualityRow]:
    """Of every finished, undisturbed run that was scored on a rung that is ranked."""
    good = [one for one in subject.found.outcomes() if one.is_undisturbed and one.num_tokens > 0]
    return [row_of(one, subject.table) for one in good if one.probe.rung.is_ranked]


def _readme(subject: Subject, num_rows: int) -> str:
    default, expects = subject.default, subject.expects
    return README.format(
        key=default.hardware_key, engine=default.engine, device=default.device, date=f"{default.made_at:%Y-%m-%d}",
        mode=default.mode, family=default.family, val_bpb=expects.val_bpb, spread=expects.spread,
        seconds=default.budget_seconds, confidence=default.confidence, default=DEFAULT_FILE, rungs=RUNGS_FILE,
        rows=ROWS_FILE, num_rows=num_rows, dataset=default.dataset.fingerprint[:12], bundle=BUNDLE,
    )  # fmt: skip
