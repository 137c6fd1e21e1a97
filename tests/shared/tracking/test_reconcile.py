"""What a kill in the middle of recording leaves in MLflow is found, and completed, deleted or closed."""

import shutil
import signal
import subprocess
import sys

import pytest

from shared.contracts import Status
from shared.settings import CHECKOUT
from shared.tracking import flush_outbox, mlflow_mapping, mlflow_store, outbox, pending_notes, reconcile, record
from shared.tracking import reconcile_with_mlflow as repair
from tests.mlflow_server import MlflowServer, empty_store, runs, use_server
from tests.shared.tracking.finished_runs import make_result, make_run
from tests.shared.tracking.test_tracking import client, stored_run, stored_runs

__all__ = ["empty_store", "runs", "use_server"]

DAY_S = 24 * 3600
KILLED_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from shared.tracking import mlflow_store, record

def power_cut(*_):
    os.kill(os.getpid(), signal.SIGKILL)

setattr(mlflow_store, sys.argv[2], power_cut)
record(Path(sys.argv[1]))
"""


def record_half(directory, seam: str = "_upload") -> None:
    argv = [sys.executable, "-c", KILLED_HALF_WAY, str(directory.path), seam]
    assert subprocess.run(argv, cwd=CHECKOUT, timeout=60).returncode == -signal.SIGKILL


@pytest.fixture
def half(runs, monkeypatch):
    """A run that was created in MLflow and no more."""

    def power_cut(*_):
        raise KeyboardInterrupt

    directory = make_run(runs)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow_store, "_fill", power_cut)
        with pytest.raises(KeyboardInterrupt):
            record(directory.path)
    return directory


@pytest.fixture
def a_day_later(monkeypatch):
    later = mlflow_store.time.time() + DAY_S + 1
    monkeypatch.setattr(reconcile.time, "time", lambda: later)


def forget(directory) -> None:
    shutil.rmtree(directory.path)
    for note in pending_notes():
        note.unlink()


def test_a_run_whose_note_was_lost_is_completed_from_its_directory(half):
    pending_notes()[0].unlink()
    assert repair() == (["run-1: will be recorded again"], True)
    assert repair() == ([], True)
    assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
    assert stored_run().info.status == "FINISHED"


def test_a_run_of_another_disk_is_left_to_it_for_a_day(half):
    forget(half)
    assert repair() == ([], True)
    assert stored_run().info.status == "RUNNING"


def test_a_run_that_no_disk_completes_is_closed_after_a_day_and_says_why(half, a_day_later):
    forget(half)
    assert repair() == (["run-1: closed, nobody has recorded the rest for a day"], True)
    run = stored_run()
    assert run.info.status == "KILLED"
    assert "recorded in part" in run.data.tags["reason"]
    assert repair() == ([], True)


def test_a_closed_run_is_completed_when_its_disk_is_seen_again(half, runs, a_day_later):
    forget(half)
    repair()
    assert record(make_run(runs, make_result("run-1", None, Status.DIVERGED, "loss 131.2")).path).pending_reason == ""
    run = stored_run()
    assert (run.info.status, run.data.tags["reason"]) == ("FAILED", "loss 131.2")


def second_copy(run) -> str:
    return client().create_run(run.info.experiment_id, tags={mlflow_mapping.RUN_ID_TAG: "run-1"}).info.run_id


def test_a_second_copy_is_deleted_once_the_first_is_complete(half):
    second_copy(stored_run())
    assert repair() == ([], True)
    flush_outbox()
    assert sorted(run.info.status for run in stored_runs()) == ["FINISHED", "RUNNING"]
    assert repair() == (["run-1: deleted a second copy"], True)
    assert stored_run().info.status == "FINISHED"
    assert mlflow_mapping.COMPLETE_TAG in stored_run().data.tags


def test_recording_again_goes_on_with_the_complete_copy(half):
    flush_outbox()
    complete = stored_run().info.run_id
    for _ in range(3):
        second_copy(stored_runs()[0])
    record(half.path)
    assert [run.info.run_id for run in stored_runs() if run.info.status == "FINISHED"] == [complete]


def test_runs_that_are_not_ours_are_left_alone(runs, a_day_later):
    theirs = client().create_experiment("something else")
    ours = client().create_experiment("autoresearch mac")
    client().create_run(theirs, tags={mlflow_mapping.RUN_ID_TAG: "run-1"})
    for tags in ({}, {mlflow_mapping.RUN_ID_TAG: "../../../etc"}, {mlflow_mapping.RUN_ID_TAG: "x' OR 'a' = 'a"}):
        client().create_run(ours, tags=tags)
    assert repair() == ([], True)
    assert {run.info.status for run in client().search_runs([theirs, ours])} == {"RUNNING"}


def test_nothing_is_imported_or_made_where_nothing_was_ever_recorded(runs):
    (runs / "mlflow.db").unlink()
    assert repair() == ([], True)
    assert not (runs / "mlflow.db").exists()


def test_a_dead_server_and_a_busy_outbox_are_waited_for(half, use_server):
    with outbox.only_recorder():
        assert repair() == ([], False)
    use_server("http://127.0.0.1:9")
    assert repair() == ([], False)


@pytest.mark.slow
@pytest.mark.parametrize("seam", ["_fill", "_upload"])
def test_recorders_leave_no_run_running_on_a_real_server(runs, use_server, empty_store, tmp_path, seam):
    """Both were killed half-way: one has its note, one lost it."""
    server = MlflowServer(tmp_path / "server", empty_store)
    use_server(server.uri)
    with server:
        for name in ("lost", "waits"):
            record_half(make_run(runs, make_result(name)), seam)
            if name == "lost":
                pending_notes()[0].unlink()
        assert {run.info.status for run in server.runs()} == {"RUNNING"}
        recorder = subprocess.Popen([sys.executable, "-m", "services.worker.recorder"], cwd=CHECKOUT)
        try:
            wait_until_finished(server)
        finally:
            recorder.terminate()
            assert recorder.wait(30) == 0
        assert sorted(run.data.tags[mlflow_mapping.RUN_ID_TAG] for run in server.runs()) == ["lost", "waits"]
    assert pending_notes() == []


@pytest.mark.slow
@pytest.mark.parametrize("seam", ["_fill", "_upload"])
def test_a_server_killed_in_the_middle_of_recording_has_the_run_once_and_whole(
    runs, use_server, empty_store, tmp_path, monkeypatch, seam
):
    server = MlflowServer(tmp_path / "server", empty_store)
    use_server(server.uri)
    whole = getattr(mlflow_store, seam)

    def power_cut(*arguments):
        server.kill()
        whole(*arguments)

    with server:
        with monkeypatch.context() as patched:
            patched.setattr(mlflow_store, seam, power_cut)
            assert "no answer from" in record(make_run(runs).path).pending_reason
        server.start()
        assert [run.info.status for run in server.runs()] == ["RUNNING"]
        assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
        (run,) = server.runs()
        assert run.info.status == "FINISHED"
        assert len(client().get_metric_history(run.info.run_id, "train/loss")) == 120
        assert "training.png" in {file.path for file in client().list_artifacts(run.info.run_id)}


def wait_until_finished(server: MlflowServer) -> None:
    from tests.fleet import wait_for

    wait_for(lambda: {run.info.status for run in server.runs()} == {"FINISHED"}, 60, every_s=0.2)
