"""The sqlite store: never half-made under its name, and rebuilt from the run directories when somebody left it so."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys

import pytest

from shared.settings import CHECKOUT, settings
from shared.tracking import flush_outbox, local_store, mlflow_store, record
from tests.fleet import wait_for
from tests.mlflow_server import empty_store, runs
from tests.shared.tracking.finished_runs import make_result, make_run

__all__ = ["empty_store", "runs"]


def recorded_ids() -> set[str]:
    client = mlflow_store._client(settings().mlflow_uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return {run.data.tags.get("are.run_id", "") for run in client.search_runs(experiments)}


def half_made(path) -> None:
    """As a kill between two of MLflow's migrations leaves it."""
    with sqlite3.connect(path) as store:
        store.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    store.close()


def test_a_store_left_half_made_is_set_aside_and_filled_again_from_the_run_directories(runs, capsys):
    make_run(runs, make_result("before"))
    half_made(runs / "mlflow.db")
    assert record(make_run(runs, make_result("after")).path).pending_reason == ""
    assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
    assert recorded_ids() == {"before", "after"}
    assert len(list(runs.glob("mlflow.db.*.aside"))) == 1
    assert "recorded again from their directories" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"this is no database, and long enough to be looked at" * 20])
def test_what_is_no_database_is_not_whole(tmp_path, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    assert not local_store.is_whole(tmp_path / "mlflow.db")


def test_a_store_that_is_busy_is_not_taken_for_a_broken_one(runs):
    assert local_store.is_whole(runs / "mlflow.db")
    with sqlite3.connect(runs / "mlflow.db") as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            local_store.is_whole(runs / "mlflow.db")
    writer.close()


def test_a_first_recording_that_is_killed_leaves_no_store_under_its_name(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    program = f"from shared.tracking.local_store import make_whole; make_whole({uri!r})"
    making = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT, stderr=subprocess.DEVNULL)
    wait_for(lambda: any(file.stat().st_size for file in tmp_path.glob(".mlflow.db.*.making")), every_s=0.005)
    os.kill(making.pid, signal.SIGKILL)
    making.wait()
    assert not (tmp_path / "mlflow.db").exists()
    shutil.rmtree(tmp_path)
