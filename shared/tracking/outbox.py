"""Records runs, and keeps what could not be recorded: a note per run in ARE_RUNS/outbox until MLflow has it all.

The note is durable before the first attempt, so a crash or an outage costs nothing but time. Nothing here raises into
an experiment, which is finished and on disk by now; what went wrong is one line in `Recorded.pending_reason`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from shared.calibration.events import read_default_of
from shared.runs.directory import RunDirectory, read_json
from shared.settings import settings
from shared.tracking.calibration_store import store_calibration
from shared.tracking.local_store import make_whole
from shared.tracking.mlflow_store import Unreachable, store_run, without_passwords
from shared.tracking.notes import outbox_folder, pending_notes, write_note
from shared.tracking.plots import plot_training
from shared.tracking.run_bundle import RunBundle, read_bundle

LOCK_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Recorded:
    run_id: str
    url: str | None = None
    """the run's page; None when it waits, or when the store is a local file"""
    pending_reason: str = ""
    """why it waits in the outbox; empty when it is recorded"""


def record(run_directory: Path) -> Recorded:
    """Records a finished run, now or when the outbox is flushed. ValueError when the run is not finished."""
    result = RunDirectory(run_directory).result()
    if result is None:
        raise ValueError(f"{run_directory} has no result.json: the run is not finished, so there is nothing to record")
    try:
        _write_note(result.run_id, run_directory)
        with only_recorder():
            # again, since whoever held the lock may have recorded this run and removed the note
            return _attempt(_write_note(result.run_id, run_directory))
    except Unreachable as error:
        return Recorded(result.run_id, pending_reason=str(error))
    except Timeout:
        return Recorded(result.run_id, pending_reason="another process is recording: the next flush takes it")
    except OSError as error:
        return Recorded(result.run_id, pending_reason=f"the outbox cannot be written: {error}")


def keep_for_later(run_directory: Path) -> None:
    """A note for the next flush, without a word to MLflow. The run must be finished."""
    result = RunDirectory(run_directory).result()
    assert result is not None
    _write_note(result.run_id, run_directory)


def keep_calibration_for_later(folder: Path) -> None:
    """A note for the next flush. The calibration must be finished."""
    write_note(f"calibration-{read_default_of(folder).calibration}", "calibration", folder)


def flush_outbox() -> list[Recorded]:
    """Tries everything that waits, oldest first; after one unanswered request the rest waits for the next flush."""
    done: list[Recorded] = []
    try:
        with only_recorder():
            for note in pending_notes():
                done.append(_attempt(note))
    except Unreachable as error:
        done += _still_waiting(str(error), done)
    except Timeout:
        done += _still_waiting("another process is recording", done)
    return done


def _still_waiting(reason: str, tried: list[Recorded]) -> list[Recorded]:
    names = {recorded.run_id for recorded in tried}
    return [Recorded(note.stem, pending_reason=reason) for note in pending_notes() if note.stem not in names]


def _attempt(note: Path) -> Recorded:
    """Unreachable when there is no point in trying others; anything else that goes wrong becomes a line."""
    try:
        url = _store(read_json(note))
    except Unreachable:
        raise
    except Exception as error:  # the edge of MLflow: whatever it raises, the note stays
        return Recorded(note.stem, pending_reason=one_line(error))
    note.unlink(missing_ok=True)
    return Recorded(note.stem, url)


def _store(note: Mapping[str, str]) -> str | None:
    """The page's address, where there is one."""
    if "calibration" in note:
        store_calibration(Path(note["calibration"]))
        return None
    return store_run(read_bundle(Path(note["run_directory"])), _draw)


def _draw(bundle: RunBundle, path: Path) -> None:
    curve = bundle.evaluation.curve if bundle.evaluation else ()
    plot_training(bundle.steps, curve, bundle.result, path)


def one_line(error: Exception) -> str:
    text = without_passwords(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300]}"


def make_local_store() -> None:
    """Before anybody else opens it. Timeout when another process is recording."""
    with only_recorder():
        make_whole(settings().mlflow_uri)


def only_recorder() -> FileLock:
    """Timeout when another process of this disk is recording."""
    outbox_folder().mkdir(parents=True, exist_ok=True)
    return FileLock(outbox_folder() / ".lock", timeout=LOCK_TIMEOUT_S)


def _write_note(run_id: str, run_directory: Path) -> Path:
    return write_note(run_id, "run_directory", run_directory)
