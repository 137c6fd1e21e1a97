"""Runs appear in MLflow while they train: created when they begin, with their curve so far, every 10 s.

What is sent is what the finished run is recorded with, point for point, so that recording it later adds and completes
and repeats nothing. An attempt that came to nothing leaves no run.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import Timeout

from shared.contracts import Job, StepRecord
from shared.fleet.contracts import AttemptRecord, Verdict
from shared.machine.vitals import Vitals
from shared.runs.directory import LONGEST_STEP_BYTES, RunDirectory
from shared.tracking import mlflow_mapping, mlflow_store, series
from shared.tracking.idea_runs import nest
from shared.tracking.mlflow_store import Unreachable, reachable_client
from shared.tracking.outbox import one_line, only_recorder
from shared.tracking.run_bundle import read_delivery, read_step

if TYPE_CHECKING:
    from mlflow import MlflowClient

POINTS_A_LOOK = 20
"""steps of one look that are sent; the finished run has a thousand"""
BYTES_A_LOOK = 8 * 2**20


@dataclass
class Followed:
    """A run that is under way, and how far it was read."""

    directory: RunDirectory
    job: Job
    started_at: float
    attempt: AttemptRecord
    mlflow_id: str = ""
    steps_read: int = 0
    """bytes of metrics.jsonl"""
    vitals_read: int = 0
    num_vitals: int = 0
    recipe_series: list[str] = field(default_factory=list)


class LiveRuns:
    def __init__(self) -> None:
        self.followed: dict[str, Followed] = {}

    def look(self, attempts: Iterable[AttemptRecord]) -> str:
        """Brings what is new into MLflow. Returns why it could not, if so: the next look makes up for it."""
        current = {record.run_id: record for record in attempts}
        self._notice(current)
        if not self.followed:
            return ""
        try:
            with only_recorder(), reachable_client() as client:
                for run_id, followed in list(self.followed.items()):
                    if run_id in current:
                        bring(client, followed)
                    else:
                        leave(client, followed)
                        del self.followed[run_id]
        except Timeout:
            return "another process is recording"
        except Unreachable as error:
            return str(error)
        except Exception as error:  # the edge of MLflow: whatever it raises, the worker goes on
            return one_line(error)
        return ""

    def _notice(self, current: dict[str, AttemptRecord]) -> None:
        """Attempts whose run directory is laid out."""
        for run_id, record in current.items():
            directory = RunDirectory.of(run_id)
            if run_id not in self.followed and directory.job_file.exists():
                with suppress(ValueError, OSError):
                    begun_at = directory.job_file.stat().st_mtime
                    self.followed[run_id] = Followed(directory, directory.job(), begun_at, record)


def bring(client: "MlflowClient", followed: Followed) -> None:
    """Creates the run if MLflow does not have it, and sends what was written since the last look."""
    from mlflow.entities import Metric, RunTag

    if not followed.mlflow_id:
        followed.mlflow_id = create(client, followed)
    steps, steps_read = new_steps(followed)
    vitals, vitals_read = new_vitals(followed)
    metrics = [
        Metric(point.name, point.value, point.timestamp_ms, point.step) for point in points(followed, steps, vitals)
    ]
    heartbeat = RunTag(mlflow_mapping.RECORDING_TAG, mlflow_store.now_ms())
    for batch in mlflow_store.batches(metrics, mlflow_store.BATCH):
        client.log_batch(followed.mlflow_id, metrics=batch, synchronous=True)
    client.log_batch(followed.mlflow_id, tags=[heartbeat], synchronous=True)
    # last, so that what was not sent is read again
    followed.steps_read, followed.vitals_read = steps_read, vitals_read
    followed.num_vitals += len(vitals)


def create(client: "MlflowClient", followed: Followed) -> str:
    """Found again when another process of this host created it."""
    from mlflow.entities import Param, RunTag

    experiment = mlflow_store.experiment_of(client, followed.job.target)
    if found := mlflow_store.copies(client, experiment, followed.job.run_id):
        return found[0].info.run_id
    tags = mlflow_mapping.begun(followed) | mlflow_mapping.origin(followed.attempt)
    run = client.create_run(
        experiment,
        start_time=series.started_at_ms(followed),
        tags={mlflow_mapping.RECORDING_TAG: mlflow_store.now_ms(), **tags},
        run_name=tags["mlflow.runName"],
    )
    params = [Param(name, value) for name, value in mlflow_mapping.params(followed).items()]
    client.log_batch(run.info.run_id, params=params, tags=[RunTag(*tag) for tag in tags.items()], synchronous=True)
    nest(client, experiment, run.info.run_id)
    return run.info.run_id


def leave(client: "MlflowClient", followed: Followed) -> None:
    """The attempt is settled. An accepted one is completed from the outbox; of any other nothing stays in MLflow."""
    if followed.mlflow_id and not counts(followed.directory):
        client.delete_run(followed.mlflow_id)


def counts(directory: RunDirectory) -> bool:
    """Whether the result of a settled attempt was accepted. A directory or a record that is gone says no."""
    try:
        delivery = read_delivery(directory)
    except ValueError:
        return False
    return delivery is not None and delivery.verdict is Verdict.ACCEPTED


def points(followed: Followed, steps: list[StepRecord], vitals: list[Vitals]) -> Iterator[series.Point]:
    """Finite ones, of evenly spaced steps."""
    for name in series.recipe_series_of(steps):
        if name not in followed.recipe_series and len(followed.recipe_series) < series.MAX_RECIPE_SERIES:
            followed.recipe_series.append(name)
    started_ms = series.started_at_ms(followed)
    for step in series.thin(steps, POINTS_A_LOOK):
        yield from filter(series.is_finite, series.step_points(step, started_ms, followed.recipe_series))
    yield from series.vital_points(vitals, first=followed.num_vitals)


def new_steps(followed: Followed) -> tuple[list[StepRecord], int]:
    """What was added since the last look, and how far the file is read then."""
    lines, end = new_lines(followed.directory.metrics_file, followed.steps_read)
    steps = []
    for line in lines:
        with suppress(ValueError):
            steps.append(read_step(line))
    return steps, end


def new_vitals(followed: Followed) -> tuple[list[Vitals], int]:
    lines, end = new_lines(followed.directory.system_file, followed.vitals_read)
    vitals = []
    for line in lines:
        with suppress(ValueError):
            vitals.append(Vitals.model_validate_json(line))
    return vitals, end


def new_lines(path: Path, start: int) -> tuple[list[bytes], int]:
    """Whole lines after `start`, of at most 8 MiB. A file that became shorter, as at a resume, is read anew."""
    if path.is_symlink() or not path.is_file():
        return [], 0
    start = start if path.stat().st_size >= start else 0
    with open(path, "rb") as file:
        file.seek(start)
        content = file.read(BYTES_A_LOOK)
    end = content.rfind(b"\n") + 1
    if not end and len(content) == BYTES_A_LOOK:
        end = len(content)  # no line of ours is that long
    return [line for line in content[:end].splitlines() if len(line) <= LONGEST_STEP_BYTES], start + end
