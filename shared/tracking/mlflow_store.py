"""Writes one run into MLflow: found by its tag, created once, completed when an earlier attempt was cut short.

Works with the local sqlite store and with any server. mlflow is imported when it is first needed (3 s), with its
telemetry off and with timeouts, since its own defaults wait minutes for a server that is down.
"""

import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shared.settings import settings
from shared.tracking import mlflow_mapping, series
from shared.tracking.artifact_location import check_location, own_folder
from shared.tracking.idea_runs import nest
from shared.tracking.local_store import make_whole
from shared.tracking.run_bundle import RunBundle
from shared.tracking.saved_view import keep_view

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

Item = TypeVar("Item")

PROBE_TIMEOUT_S = 3.0
BATCH = 1000
"""MLflow's limit of metric points in one request"""

# no retries: a run that was created by a request whose answer was lost would be created twice
CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Unreachable(Exception):
    """The tracking server does not answer; the message says which and why."""


def store_run(bundle: RunBundle, picture: Callable[[RunBundle, Path], None]) -> str | None:
    """Records the run completely; its page's address, None for a local store.

    Unreachable when the server does not answer, else whatever MLflow raises.
    """
    uri = settings().mlflow_uri
    with reachable_client() as client:
        experiment, run_id = _store(client, bundle, picture)
    if not uri.startswith("http"):
        return None
    run_page = f"#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"
    return f"{without_passwords(uri).rstrip('/')}/{run_page}"


@contextmanager
def reachable_client() -> Iterator["MlflowClient"]:
    """For the configured store. Unreachable when the server does not answer, at first or later in the block."""
    uri = settings().mlflow_uri
    probe(uri)
    try:
        yield _client(uri)
    except Exception as error:
        if uri.startswith("http") and isinstance(error.__context__, OSError):  # MLflow's own hides the connection's
            raise Unreachable(without_passwords(f"no answer from {uri}: {error.__context__}")) from None
        raise


def _store(client: "MlflowClient", bundle: RunBundle, picture: Callable[[RunBundle, Path], None]) -> tuple[str, str]:
    experiment = experiment_of(client, bundle.job.target)
    run = _find_or_create(client, experiment, bundle)
    if run.data.tags.get(mlflow_mapping.COMPLETE_TAG) != bundle.result_sha:
        _fill(client, run.info.run_id, bundle, picture)
    nest(client, experiment, run.info.run_id)
    return experiment, run.info.run_id


def probe(uri: str) -> None:
    """Unreachable when a server does not answer within 3 s; any answer will do, also a refusal."""
    if not uri.startswith("http"):
        return
    address = without_passwords(uri).rstrip("/")
    try:
        urllib.request.urlopen(f"{address}/health", timeout=PROBE_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return
    except (OSError, ValueError, HTTPException) as error:
        raise Unreachable(f"no answer from {address}: {error}") from None


def without_passwords(text: str) -> str:
    """The text with every `name:password@` taken out of its addresses."""
    return re.sub(r"://[^/@\s]*@", "://", text)


def _client(uri: str) -> "MlflowClient":
    for name, value in CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils", "urllib3.connectionpool"):
        logging.getLogger(name).setLevel(logging.ERROR)
    make_whole(uri)
    return MlflowClient(tracking_uri=uri)


def experiment_of(client: "MlflowClient", target: str) -> str:
    """Where the runs on one kind of hardware are, with the view that people should open."""
    experiment = experiment_id(client, target, mlflow_mapping.experiment_note(target))
    keep_view(client, client.get_experiment(experiment))
    return experiment


def experiment_id(client: "MlflowClient", topic: str, note: str) -> str:
    """Of the experiment for a target or another topic, created with `note` as its description when there is none.

    ValueError when its artifacts would go where somebody else chose.
    """
    from mlflow.exceptions import MlflowException

    name, uri = mlflow_mapping.experiment_name(topic), settings().mlflow_uri
    found = client.get_experiment_by_name(name)
    if found:
        check_location(found)
        return found.experiment_id
    # a server knows where its artifacts go; without one they would land in the current directory
    location = None if uri.startswith("http") else (own_folder() / topic).as_uri()
    try:
        return client.create_experiment(name, artifact_location=location, tags={"mlflow.note.content": note})
    except MlflowException:
        created_by_another_host = client.get_experiment_by_name(name)
        if created_by_another_host is None:
            raise
        check_location(created_by_another_host)
        return created_by_another_host.experiment_id


def _find_or_create(client: "MlflowClient", experiment_id: str, bundle: RunBundle) -> "Run":
    if found := copies(client, experiment_id, bundle.result.run_id):
        return found[0]
    return client.create_run(
        experiment_id,
        start_time=series.started_at_ms(bundle),
        tags={mlflow_mapping.RUN_ID_TAG: bundle.result.run_id, mlflow_mapping.RECORDING_TAG: now_ms()},
        run_name=mlflow_mapping.run_name(bundle),
    )


def copies(client: "MlflowClient", experiment_id: str, run_id: str) -> list["Run"]:
    """What MLflow has of a run of ours, the one that counts first: one recorded to its end, or whichever is chosen."""
    found = client.search_runs([experiment_id], f"tags.`{mlflow_mapping.RUN_ID_TAG}` = '{run_id}'")
    return sorted(found, key=lambda run: (mlflow_mapping.COMPLETE_TAG not in run.data.tags, run.info.run_id))


def now_ms() -> str:
    return str(round(1000 * time.time()))


def _fill(client: "MlflowClient", run_id: str, bundle: RunBundle, picture: Callable[[RunBundle, Path], None]) -> None:
    """Every part may be sent again without harm; the tag that says it is complete comes last."""
    from mlflow.entities import Dataset, DatasetInput, Metric, Param, RunTag

    params = mlflow_mapping.params(bundle) | mlflow_mapping.resolved(bundle)
    tags = mlflow_mapping.tags(bundle) | {mlflow_mapping.RECORDING_TAG: now_ms()}
    client.log_batch(
        run_id,
        params=[Param(name, value) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
        synchronous=True,
    )
    dataset = bundle.job.dataset
    client.log_inputs(run_id, [DatasetInput(Dataset(dataset.name, dataset.fingerprint[:12], "prepared", "{}"))])
    metrics = (Metric(point.name, point.value, point.timestamp_ms, point.step) for point in series.points(bundle))
    for batch in batches(metrics, BATCH):
        client.log_batch(run_id, metrics=batch, synchronous=True)
    _upload(client, run_id, bundle, picture)
    client.set_terminated(run_id, mlflow_mapping.mlflow_status(bundle.result), mlflow_mapping.ended_at_ms(bundle))
    client.set_tag(run_id, mlflow_mapping.COMPLETE_TAG, bundle.result_sha)


def _upload(client: "MlflowClient", run_id: str, bundle: RunBundle, picture: Callable[[RunBundle, Path], None]) -> None:
    with tempfile.TemporaryDirectory(prefix="are-record-") as folder:
        for name, content in bundle.files.items():
            (Path(folder) / name).write_bytes(content)
        picture(bundle, Path(folder) / "training.png")
        client.log_artifacts(run_id, folder)


def batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch
