"""Runs that MLflow shows as running although nobody records them: their recorder or the server was killed half-way.

One whose run directory is on this disk goes back into the outbox, unless its attempt is not settled yet (it may be
training), or came to nothing: then it is deleted. A second copy, left by a request whose answer was lost, is deleted.
What no disk has completed for a day, or for an hour if it was training, is closed as killed, and completed all the same
if its disk is seen again. Runs that are not ours are left alone.
"""

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from filelock import Timeout

from shared.runs.directory import RunDirectory
from shared.settings import settings
from shared.tracking import mlflow_mapping
from shared.tracking.live import counts
from shared.tracking.mlflow_store import Unreachable, copies, reachable_client
from shared.tracking.outbox import keep_for_later, one_line, only_recorder, pending_notes

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

CLOSE_AFTER_S, CLOSE_LIVE_AFTER_S = 24 * 3600.0, 3600.0
"""a run that trains is heard of every 10 s, so silence means more there"""
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # anybody may write into MLflow, also a path


def reconcile_with_mlflow() -> tuple[list[str], bool]:
    """A line for everything that was done, and whether MLflow could be looked into to the end."""
    done: list[str] = []
    if not settings().tracking_uri and not (settings().runs / "mlflow.db").exists():
        return done, True
    try:
        with only_recorder(), reachable_client() as client:
            for run in _half_recorded(client):
                done += filter(None, [_repaired(client, run)])
    except (Unreachable, Timeout):
        return done, False
    except Exception as error:  # the edge of MLflow: whatever it raises, recording goes on
        return [*done, one_line(error)], False
    return done, True


def _half_recorded(client: "MlflowClient") -> Iterator["Run"]:
    named = f"name LIKE '{mlflow_mapping.EXPERIMENT_PREFIX}%'"
    experiments = [experiment.experiment_id for experiment in client.search_experiments(filter_string=named)]
    running = client.search_runs(experiments, "attributes.status = 'RUNNING'") if experiments else []
    return (run for run in running if RUN_ID.fullmatch(run.data.tags.get(mlflow_mapping.RUN_ID_TAG, "")))


def _repaired(client: "MlflowClient", run: "Run") -> str:
    """What was done, if anything: one that is being recorded at this moment looks the same."""
    name = run.data.tags[mlflow_mapping.RUN_ID_TAG]
    first = copies(client, run.info.experiment_id, name)[0]
    if first.info.run_id != run.info.run_id and mlflow_mapping.COMPLETE_TAG in first.data.tags:
        client.delete_run(run.info.run_id)
        return f"{name}: deleted a second copy"
    if RunDirectory.of(name).attempt_note.exists():
        return ""
    if _came_to_nothing(name):
        client.delete_run(run.info.run_id)
        return f"{name}: deleted, its attempt does not count"
    if _is_on_this_disk(name):
        waits = name in {note.stem for note in pending_notes()}
        keep_for_later(RunDirectory.of(name).path)
        return "" if waits else f"{name}: will be recorded again"
    trains = run.data.tags.get("status") == mlflow_mapping.RUNNING
    if _recording_for_s(run) > (CLOSE_LIVE_AFTER_S if trains else CLOSE_AFTER_S):
        since = "an hour" if trains else "a day"
        client.set_tag(run.info.run_id, "reason", f"recorded in part: its disk was not seen again for {since}")
        client.set_terminated(run.info.run_id, "KILLED")
        return f"{name}: closed, nobody has recorded the rest for {since}"
    return ""


def _came_to_nothing(run_id: str) -> bool:
    """An attempt of this disk whose result was not accepted."""
    directory = RunDirectory.of(run_id)
    return directory.delivery_file.exists() and not counts(directory)


def _is_on_this_disk(run_id: str) -> bool:
    try:
        result = RunDirectory.of(run_id).result()
    except ValueError:
        return False
    return result is not None and result.run_id == run_id


def _recording_for_s(run: "Run") -> float:
    since = run.data.tags.get(mlflow_mapping.RECORDING_TAG, "")
    since_ms = int(since) if since.isdecimal() else run.info.start_time
    return time.time() - since_ms / 1000
