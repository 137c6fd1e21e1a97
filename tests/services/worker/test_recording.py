"""Accepted results reach MLflow, once, whenever it is there."""

import os
import signal
import subprocess
import sys

import pytest

from shared.tracking import pending_notes
from tests.fleet import free_port, wait_for
from tests.recipes import HONEST

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "rung": "cheap", "tokens": 5 * 12288}
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


def start_mlflow(folder, port: int) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    argv += [
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with open(folder / "log", "ab") as log:
        return subprocess.Popen(
            argv, env={**os.environ, **QUIET}, stdout=log, stderr=log, cwd=folder, start_new_session=True
        )


def end(server: subprocess.Popen) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()


@pytest.mark.slow
def test_runs_wait_for_mlflow_and_are_recorded_once_when_it_is_back(hub, start_worker, tmp_path):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    worker = start_worker(real=True, ARE_TRACKING_URI=uri)
    first = hub.enqueue(job_id="first", **JOB)
    assert hub.outcome(first, 90).status == "ok"
    wait_for(pending_notes)
    wait_for(lambda: "1 runs wait for MLflow" in worker.output())

    server = start_mlflow(tmp_path / "mlflow", port)
    try:
        wait_for(lambda: not pending_notes(), 90)
        end(server)
        second = hub.enqueue(job_id="second", **JOB)
        assert hub.outcome(second, 90).status == "ok"
        wait_for(pending_notes)
        server = start_mlflow(tmp_path / "mlflow", port)
        wait_for(lambda: not pending_notes(), 90)
        found = recorded(uri)
    finally:
        end(server)
    assert sorted(found) == ["first-a1", "second-a1"]


def recorded(uri: str) -> list[str]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert {run.info.status for run in runs} == {"FINISHED"}
    return [run.data.tags["are.run_id"] for run in runs]
