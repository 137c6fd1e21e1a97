"""Room on the disk: the weights of runs that are scored, and whole run directories, removed when somebody asks.

The records of a run are small and stay; its weights are needed only to score it again. Those of an idea's run stay in
any case: on a machine without a hub nothing else tells of it, and what is not known is run again, until it is good.
Nothing is touched that somebody works on, that waits for MLflow, or that can still be continued.
"""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.contracts import Status
from shared.runs.directory import RunDirectory
from shared.runs.listing import ListedRun, list_runs
from shared.settings import settings

DAY_S = 24 * 3600.0
LEAST_FREE_BYTES = 5 * 10**9


@dataclass(frozen=True)
class Prunable:
    """What would be removed of one run."""

    run: ListedRun
    path: Path
    num_bytes: int

    def remove(self) -> None:
        """Weights lose their index first, so that what is cut short counts for nothing."""
        if self.path == self.run.path:
            self.path.rename(self.path.with_name(f".{self.path.name}.removed"))
            shutil.rmtree(self.path.with_name(f".{self.path.name}.removed"), ignore_errors=True)
        else:
            RunDirectory(self.run.path).discard_checkpoint()


def prunable(keep: int, *, older_than_days: float = 0.0, whole: bool = False) -> list[Prunable]:
    """Of finished runs, oldest first: all but the newest `keep` and the best one of each dataset, target and budget.

    whole: the run directories instead of the weights alone, but for runs of ideas; runs that MLflow does not have yet
    are left out.
    """
    finished = [run for run in list_runs() if run.result is not None]
    kept = {run.path for run in finished[:keep]} | _best_of_each(finished)
    before = time.time() - DAY_S * older_than_days
    busy = _needed() if whole else set()
    chosen = [
        run
        for run in reversed(finished)
        if run.path not in kept and run.created_at <= before and run.run_id not in busy and _is_over(run)
    ]
    parts = [(run, run.path if whole and not _is_evidence(run) else run.path / "checkpoint") for run in chosen]
    return [Prunable(run, path, size_of(path)) for run, path in parts if path.is_dir() and not path.is_symlink()]


def retain() -> None:
    """After a run: what ARE_KEEP_WEIGHTS says, if it says anything. What cannot be removed stays until next time."""
    if (keep := settings().keep_weights) is not None:
        for part in prunable(keep):
            with suppress(OSError):
                part.remove()


def disk_warning() -> str:
    """One line when little room is left for runs; empty when there is enough."""
    folder = next(place for place in (settings().runs, *settings().runs.parents) if place.exists())
    free = shutil.disk_usage(folder).free
    if free >= LEAST_FREE_BYTES:
        return ""
    return f"only {free / 1e9:.1f} GB are free at {folder}: `autoresearch runs prune --dry-run` shows what can go"


def size_of(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file())


def _is_evidence(run: ListedRun) -> bool:
    return run.result is not None and run.result.idea is not None


def _is_over(run: ListedRun) -> bool:
    """Scored, or ended in a way that cannot be continued; and nobody works on it."""
    assert run.result is not None
    if run.result.status in (Status.CANCELLED, Status.TIMED_OUT, Status.OUT_OF_MEMORY, Status.CRASHED):
        return False
    try:
        return not RunDirectory(run.path).in_use()
    except OSError:
        return False


def _best_of_each(finished: list[ListedRun]) -> set[Path]:
    best: dict[tuple[str, ...], tuple[float, Path]] = {}
    for run in finished:
        result = run.result
        if result is None or result.val_bpb is None or not result.ranked:
            continue
        key = (result.dataset, result.target, str(result.budget))
        if key not in best or result.val_bpb < best[key][0]:
            best[key] = (result.val_bpb, run.path)
    return {path for _, path in best.values()}


def _needed() -> set[str]:
    """Runs that wait for MLflow, and attempts that nobody has settled."""
    notes = (*settings().runs.glob("outbox/*.json"), *settings().runs.glob("attempts/*.json"))
    return {note.stem for note in notes}
