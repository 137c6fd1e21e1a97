"""Defaults are copied to MLflow for people: against a real sqlite store."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.calibration.events import append_event
from shared.tracking import flush_outbox, keep_calibration_for_later, mlflow_store, pending_notes
from shared.tracking.mlflow_mapping import experiment_name
from tests.mlflow_server import empty_store, runs
from tests.platform_defaults import calibrated, unmeasured

__all__ = ["empty_store", "runs"]


@pytest.fixture
def finished(tmp_path, runs):
    folder = tmp_path / "calibration"
    folder.mkdir()
    append_event(folder, kind="finished", spent_s=500.0, default=calibrated())
    (folder / "report.md").write_text("# Report\n")
    return folder


def stored(topic):
    client = mlflow_store._client(mlflow_store.settings().mlflow_uri)
    experiment = client.get_experiment_by_name(experiment_name(topic))
    return client, client.search_runs([experiment.experiment_id])


def test_a_default_is_recorded_once_under_names_that_no_result_has(finished):
    for _ in range(2):
        keep_calibration_for_later(finished)
        assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
    client, (run,) = stored("calibration")
    assert run.data.metrics["expected_val_bpb"] == pytest.approx(1.75)
    assert "val_bpb" not in run.data.metrics
    assert run.data.params["family"] == "m5-tiny"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"report.md", "platform_default.json"}
    assert pending_notes() == []


def test_one_in_which_nothing_was_measured_is_recorded_without_numbers(finished):
    keep_calibration_for_later(finished)
    flush_outbox()
    later = datetime.now(UTC) + timedelta(minutes=1)
    (finished / "promotion").mkdir()
    (finished / "promotion" / "platform_default.json").write_text("of the calibration before")
    append_event(finished, kind="finished", spent_s=500.0, default=unmeasured(made_at=later))
    keep_calibration_for_later(finished)
    flush_outbox()
    client, found = stored("calibration")
    (run,) = [one for one in found if one.data.tags["confidence"] == "none"]
    assert run.data.metrics == {}
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"report.md", "platform_default.json"}


def test_a_calibration_that_came_to_no_default_is_not_kept(tmp_path, runs):
    with pytest.raises(ValueError, match="came to no default"):
        keep_calibration_for_later(tmp_path)
