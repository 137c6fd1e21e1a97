"""Rows of the quality table: what one recipe, shape and number of tokens scored, and who says so.

Three sources: rows checked in beside this file, finished runs of this machine, a snapshot of the fleet's rows as JSON.
"""

import json
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import Field, ValidationError

from shared.contracts import Contract, Integrity, OneLine, Rung, RunResult, Shape, Status
from shared.evaluation.rungs import eval_signature
from shared.experiment.presets import find_preset
from shared.files import write_atomic
from shared.invalid import first_wrong
from shared.runs.listing import ListedRun, list_runs
from shared.runs.shipped import is_shipped
from shared.unranked import BY_THE_MACHINE

PUBLISHED_DATASET = "climbmix"
LARGEST_BPB = 100.0


class QualityRow(Contract):
    source: OneLine
    """which machine and run, e.g. a run id or "GB10, 300 s, published" """
    dataset: str
    """fingerprint; "climbmix" for published rows"""
    shape: Shape
    num_tokens: int = Field(gt=0, le=10**16)
    """trained on"""
    val_bpb: float = Field(gt=0, le=LARGEST_BPB, allow_inf_nan=False)
    rung: Rung | None = None
    sigma: float | None = Field(default=None, ge=0, le=LARGEST_BPB, allow_inf_nan=False)
    """standard deviation of val_bpb; None: not known"""
    hardware_key: str | None = None


@dataclass(frozen=True)
class RowsRead:
    rows: tuple[QualityRow, ...]
    notes: tuple[str, ...] = ()
    """one line for each row that could not be read and was left out"""


@dataclass(frozen=True)
class PublishedRun:
    row: QualityRow
    memory_mb: float | None
    """peak of training in MB, as published"""


@cache
def published_runs() -> tuple[PublishedRun, ...]:
    """SPEC section 4's figures of the M5, the GB10 and the H100."""
    machines = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))["machine"]
    each = [(machine, row) for machine in machines for row in machine["rows"]]
    return tuple(PublishedRun(_published(machine, row), row.get("memory_mb")) for machine, row in each)


@cache
def published_rows() -> tuple[QualityRow, ...]:
    return tuple(run.row for run in published_runs())


def _published(machine: dict, row: dict) -> QualityRow:
    shape = find_preset(row["preset"]).shape
    if "batch" in row:
        device_batch_size, total_batch_size = map(int, row["batch"].split("/"))
        changed = {"device_batch_size": device_batch_size, "total_batch_size": total_batch_size}
        shape = Shape(**shape.model_dump() | changed)
    return QualityRow(
        source=f"{row['preset']} on {machine['source']}",
        dataset=PUBLISHED_DATASET,
        shape=shape,
        num_tokens=row["steps"] * shape.total_batch_size,
        val_bpb=row["val_bpb"],
        rung=row.get("rung"),
        hardware_key=machine["hardware_key"],
    )


def rows_of_runs(root: Path | None = None, *, runs: Iterable[ListedRun] | None = None) -> tuple[QualityRow, ...]:
    """Rows of the finished runs under `root` (ARE_RUNS), oldest first; or of `runs`, in their order.

    Only those that ended well, of a shipped recipe as it is now with shipped kernels, sandboxed, within their budget on
    a machine that had nothing else to do, scored as today and on a rung that is ranked. Runs on the demo corpus are
    rows of its fingerprint: they are never ranked, but their shapes compare.
    """
    listed = reversed(list_runs(root=root)) if runs is None else runs
    found = [(run.job, run.result) for run in listed]
    return tuple(
        _row_of(result, job.shape)
        for job, result in found
        if job and result and is_shipped(job) and job.recipe_sha == result.recipe_sha and _counts(result)
    )


def rows_of_results(results: Iterable[RunResult]) -> tuple[QualityRow, ...]:
    """The same of results whose runs are on other disks, in their order."""
    return tuple(_row_of(result, result.shape) for result in results if result.shape and _counts(result))


def _counts(result: RunResult) -> bool:
    return (
        result.status is Status.OK
        and result.void is None
        and is_shipped(result)
        and result.eval_signature == eval_signature()
        and result.rung is not None
        and result.rung.is_ranked
        and result.num_steps > 0
        and not _is_charged(result)
        and result.integrity not in (None, Integrity.NONE)
        and not BY_THE_MACHINE & set(result.unranked)
        and 0 < (result.val_bpb or 0) <= LARGEST_BPB
    )


def _is_charged(result: RunResult) -> bool:
    """For a kernel that is not shipped: then the number is not the model's alone."""
    return any(choice.what == "recipe source" and choice.chosen != "0 bytes" for choice in result.choices)


def _row_of(result: RunResult, shape: Shape) -> QualityRow:
    return QualityRow(
        source=result.run_id,
        dataset=result.dataset,
        shape=shape,
        num_tokens=result.num_steps * shape.total_batch_size,
        val_bpb=result.val_bpb or 0.0,
        rung=result.rung,
        hardware_key=result.hardware_key,
    )


def read_rows(path: Path) -> RowsRead:
    """The rows of a snapshot; damaged ones are named and left out. ValueError when the file is no JSON list."""
    try:
        entries = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON: {error}; fetch the snapshot again") from None
    if not isinstance(entries, list):
        raise ValueError(f"{path.name} is no list of rows; fetch the snapshot again")
    rows, notes = [], []
    for number, entry in enumerate(entries, start=1):
        try:
            rows.append(QualityRow.model_validate(entry))
        except ValidationError as error:
            notes.append(f"{path.name}: row {number} left out, {first_wrong(error, 'row')}")
    return RowsRead(tuple(rows), tuple(notes))


def write_rows(path: Path, rows: Sequence[QualityRow]) -> None:
    """A JSON list, one row a line; atomic."""
    write_atomic(path, "[\n" + ",\n".join(row.model_dump_json() for row in rows) + "\n]\n")
