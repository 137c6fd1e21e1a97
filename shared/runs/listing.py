"""Every run on this disk in one line each, newest first: finished, running or interrupted.

Read from the run directories, which are the record; MLflow is only a view of them.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from shared.contracts import Integrity, Job, RunResult, StepRecord
from shared.runs.directory import RunDirectory
from shared.settings import settings
from shared.unranked import reasons_of

State = Literal["finished", "running", "interrupted", "unreadable"]
TAIL_BYTES = 65_536


@dataclass(frozen=True)
class ListedRun:
    run_id: str
    path: Path
    state: State
    summary: str
    """the outcome, or how far it came"""
    created_at: float
    """seconds since the epoch"""
    job: Job | None = None
    result: RunResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; job and result in full."""
        fields = {"run_id": self.run_id, "path": str(self.path), "state": self.state, "summary": self.summary}
        records = {"job": self.job, "result": self.result}
        dumped = {name: record and record.model_dump(mode="json") for name, record in records.items()}
        return {**fields, "created_at": self.created_at, **dumped}


def list_runs(
    limit: int | None = None, root: Path | None = None, integrity: Integrity | None = None, only_ranked: bool = False
) -> list[ListedRun]:
    """The newest `limit` runs under `root` (ARE_RUNS); a directory without job.json is not a run.

    With `integrity` or `only_ranked`, only those finished ones whose result says so.
    """
    jobs = sorted((root or settings().runs).glob("*/job.json"), key=_written_at, reverse=True)
    listed = (_listed(RunDirectory(file.parent)) for file in jobs)
    return list(islice((run for run in listed if _is_wanted(run.result, integrity, only_ranked)), limit))


def _written_at(file: Path) -> float:
    """0 for what is a link to nowhere or cannot be looked at: it is listed, and hides no other run."""
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _is_wanted(result: RunResult | None, integrity: Integrity | None, only_ranked: bool) -> bool:
    if result is None:
        return integrity is None and not only_ranked
    return integrity in (None, result.integrity) and (result.ranked or not only_ranked)


def _listed(directory: RunDirectory) -> ListedRun:
    created_at, name = _written_at(directory.job_file), directory.path.name
    try:
        job, result = directory.job(), directory.result()
        if result is not None:
            return ListedRun(name, directory.path, "finished", _outcome(result), created_at, job, result)
        state: State = "running" if directory.in_use() else "interrupted"
        return ListedRun(name, directory.path, state, f"{state} {_whereabouts(directory)}", created_at, job)
    except (ValueError, OSError) as error:
        why = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.strerror else str(error)
        return ListedRun(name, directory.path, "unreadable", why, created_at)


def _outcome(result: RunResult) -> str:
    if result.val_bpb is not None:
        ranked = "" if result.ranked else f", not ranked: {reasons_of(result)}"
        return f"{result.status}: val_bpb {result.val_bpb:.6f} ({result.rung}{ranked})"
    return f"{result.status}: {result.reason or 'no reason given'}"


def _whereabouts(directory: RunDirectory) -> str:
    if directory.training_file.exists():
        return "after training, before it had a result"
    last = last_step(directory.metrics_file)
    if last is None:
        return "before the first step"
    return f"while training at step {last.step} ({last.progress:.0%})"


def last_step(metrics_file: Path) -> StepRecord | None:
    """The newest readable step, from the end of the file: a long run is as quick to look at as a short one."""
    if not metrics_file.is_file():
        return None
    with open(metrics_file, "rb") as file:
        file.seek(max(0, metrics_file.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")[:-1]
    for line in reversed(lines):
        try:
            return StepRecord.model_validate_json(line)
        except ValueError:
            continue
    return None
