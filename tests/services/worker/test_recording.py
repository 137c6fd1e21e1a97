"""Accepted results reach MLflow, once, whenever it is there."""

import pytest

from shared.tracking import pending_notes
from tests.fleet import wait_for
from tests.mlflow_server import MlflowServer
from tests.recipes import HONEST

JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny", "rung": "cheap", "tokens": 5 * 12288}


@pytest.mark.slow
def test_runs_wait_for_mlflow_and_are_recorded_once_when_it_is_back(hub, start_worker, tmp_path):
    server = MlflowServer(tmp_path / "mlflow")
    worker = start_worker(real=True, ARE_TRACKING_URI=server.uri)
    outcome = hub.outcome(hub.enqueue(job_id="first", **JOB), 90)
    assert outcome.status == "ok", outcome.reason
    wait_for(pending_notes)
    wait_for(lambda: "1 runs wait for MLflow" in worker.output())

    with server:
        wait_for(lambda: not pending_notes(), 90)
    outcome = hub.outcome(hub.enqueue(job_id="second", **JOB), 90)
    assert outcome.status == "ok", outcome.reason
    wait_for(pending_notes)
    with server:
        wait_for(lambda: not pending_notes(), 90)
        found = server.runs()
    assert {run.info.status for run in found} == {"FINISHED"}
    assert sorted(run.data.tags["are.run_id"] for run in found) == ["first-a1", "second-a1"]
