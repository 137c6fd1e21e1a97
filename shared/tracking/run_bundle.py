"""A run directory as one bundle, for recording. It may be hostile: the recipe's process could write anything into it.

Only regular files are opened (a link or a pipe left behind by a recipe is not followed), sizes are bounded, lines that
make no sense are left out, and whatever was left out is said in `RunBundle.notes`.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from shared.contracts import EvaluationRecord, Job, RunResult, StepRecord, TrainingRecord
from shared.files import sha256_bytes
from shared.fleet.contracts import Counted, Delivery
from shared.machine.vitals import Vitals
from shared.research.counted import counted_on_disk
from shared.runs.directory import RunDirectory, read_record
from shared.tracking.recipe_diff import recipe_diff

MAX_FILE_BYTES = 64 * 2**20
MAX_LOG_BYTES = 2**20
MAX_STEP = 2**40
MAX_SECONDS = 1e9


@dataclass(frozen=True)
class RunBundle:
    """A finished run, as it will be recorded."""

    job: Job
    result: RunResult
    result_sha: str
    started_at: float
    """seconds since the epoch, when job.json was written: it never is again, unlike the other records"""
    recorded_at: float
    """seconds since the epoch, when result.json was written"""
    training: TrainingRecord | None
    evaluation: EvaluationRecord | None
    steps: tuple[StepRecord, ...]
    vitals: tuple[Vitals, ...]
    delivery: Delivery | None
    """of an attempt of the fleet: who ran it where"""
    counted: Counted | None
    """evidence for the run's idea, as far as it was known when the run ended"""
    files: dict[str, bytes]
    """artifacts by name"""
    notes: tuple[str, ...] = field(default=())
    """what was left out, in words"""


def read_bundle(path: Path) -> RunBundle:
    """ValueError when the run is not finished or a trusted record in it is damaged."""
    directory = RunDirectory(path)
    job, result = directory.job(), directory.result()
    if result is None:
        raise ValueError(f"{path} has no result.json: the run is not finished, so there is nothing to record")
    notes: list[str] = []
    delivery = read_delivery(directory)
    steps, unreadable = read_steps(directory.metrics_file)
    if unreadable:
        notes.append(f"{unreadable} unreadable line(s) of metrics.jsonl left out")
    return RunBundle(
        job=job,
        result=result,
        result_sha=sha256_bytes(directory.result_file.read_bytes()),
        started_at=directory.job_file.stat().st_mtime,
        recorded_at=directory.result_file.stat().st_mtime,
        training=directory.training(),
        evaluation=directory.evaluation(),
        steps=steps,
        vitals=read_vitals(directory.system_file),
        delivery=delivery,
        counted=delivery.counted if delivery else counted_on_disk(result),
        files=_artifacts(directory, notes),
        notes=tuple(notes),
    )


def read_steps(path: Path) -> tuple[tuple[StepRecord, ...], int]:
    """The steps of a metrics.jsonl and how many lines could not be read. A number written as null is NaN."""
    content = read_regular(path) or b""
    steps, unreadable = [], 0
    for line in content.splitlines():
        try:
            steps.append(read_step(line))
        except (ValueError, ValidationError):
            unreadable += 1
    return tuple(steps), unreadable


def read_vitals(path: Path) -> tuple[Vitals, ...]:
    """Lines that make no sense are left out."""
    found = []
    for line in (read_regular(path) or b"").splitlines():
        with suppress(ValueError):
            found.append(Vitals.model_validate_json(line))
    return tuple(found)


def read_delivery(directory: RunDirectory) -> Delivery | None:
    """None for a run that no worker made. ValueError when the record is damaged."""
    return read_record(directory.delivery_file, Delivery) if directory.delivery_file.exists() else None


def read_step(line: bytes) -> StepRecord:
    record = StepRecord.model_validate(_nulls_as_nan(json.loads(line)))
    if not (0 <= record.step < MAX_STEP and 0 <= record.train_seconds < MAX_SECONDS):
        raise ValueError("a step or a time no run can have")
    return record


def _nulls_as_nan(fields: object) -> object:
    """JSON has no NaN; the telemetry of a diverging run holds null instead, also in what the recipe reports."""
    if not isinstance(fields, dict):
        return fields
    return {
        name: math.nan if value is None and name != "mfu_percent" else _nulls_as_nan(value)
        for name, value in fields.items()
    }


def read_regular(path: Path) -> bytes | None:
    """The first 64 MiB of a regular file; None when there is none or it is something else, such as a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _artifacts(directory: RunDirectory, notes: list[str]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for path, content in _contents(directory):
        if content is None:
            if os.path.lexists(path):
                notes.append(f"{path.name} is not a regular file: left out")
            continue
        if len(content) == MAX_FILE_BYTES:
            notes.append(f"{path.name} cut after {MAX_FILE_BYTES >> 20} MiB")
        files[path.name] = _head_and_tail(content, MAX_LOG_BYTES) if path == directory.output_file else content
    if directory.recipe_file.name in files:
        files["recipe.diff"] = recipe_diff(directory.job(), files[directory.recipe_file.name])
    return files


def _contents(directory: RunDirectory) -> Iterator[tuple[Path, bytes | None]]:
    for path in (
        directory.recipe_file,
        directory.job_file,
        directory.result_file,
        directory.training_file,
        directory.evaluation_file,
        directory.metrics_file,
        directory.system_file,
        directory.output_file,
    ):
        yield path, read_regular(path)


def _head_and_tail(content: bytes, limit: int) -> bytes:
    if len(content) <= limit:
        return content
    half = limit // 2
    left_out = f"\n[... {len(content) - 2 * half:,} bytes left out here ...]\n".encode()
    return content[:half] + left_out + content[-half:]
