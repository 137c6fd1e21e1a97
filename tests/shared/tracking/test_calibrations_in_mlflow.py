"""Defaults go to MLflow, the fleet's runs come from it: both against a real sqlite store."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.calibration.events import append_event
from shared.contracts import Choice, Integrity, Rung, Unranked
from shared.evaluation.rungs import eval_signature
from shared.runs.directory import write_record
from shared.runs.shipped import shipped_recipes
from shared.tracking import flush_outbox, keep_calibration_for_later, mlflow_store, pending_notes, record
from shared.tracking.fleet_default import fleet_default
from shared.tracking.fleet_rows import fleet_rows
from shared.tracking.mlflow_mapping import experiment_name
from tests.mlflow_server import empty_store, runs
from tests.platform_defaults import calibrated, unmeasured
from tests.shared.tracking.finished_runs import make_result, make_run

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


def test_the_default_of_another_machine_is_read_back(finished):
    keep_calibration_for_later(finished)
    flush_outbox()
    default = calibrated()
    found = fleet_default(default.hardware_key, default.engine)
    assert found.val_bpb == default.val_bpb
    assert fleet_default("nobody", "torch") is None
    assert fleet_default("' or 1 = 1", "torch") is None


def test_one_in_which_nothing_was_measured_is_recorded_without_numbers_and_hides_no_better_one(finished):
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
    default = calibrated()
    assert fleet_default(default.hardware_key, default.engine).is_measured


def test_a_calibration_that_came_to_no_default_is_not_kept(tmp_path, runs):
    with pytest.raises(ValueError, match="came to no default"):
        keep_calibration_for_later(tmp_path)


def test_finished_runs_of_shipped_recipes_are_rows_for_the_calibrators_of_the_fleet(runs):
    def recorded(name, recipe_sha, signature, kernels=None, **changes):
        changes = {"integrity": Integrity.FULL, "rung": Rung.CHEAP, **changes}
        changes |= {"recipe_sha": recipe_sha, "eval_signature": signature}
        directory = make_run(runs, make_result(name).model_copy(update=changes))
        asked = {"recipe_sha": recipe_sha, "kernels": kernels or {}}
        write_record(directory.job_file, directory.job().model_copy(update=asked))
        assert not record(directory.path).pending_reason

    recorded("counts", min(shipped_recipes()), eval_signature())
    recorded("edited", "e" * 64, eval_signature())
    recorded("older", min(shipped_recipes()), "old")
    recorded("unproved", min(shipped_recipes()), eval_signature(), {"fused_mlp": "torch_unproved"})
    charge = Choice(what="recipe source", chosen="900 bytes", reason="with a kernel that is tried")
    recorded("charged", min(shipped_recipes()), eval_signature(), choices=(charge,))
    recorded("unfenced", min(shipped_recipes()), eval_signature(), integrity=None)
    busy = {"ranked": False, "unranked": (Unranked.BUSY_MACHINE,)}
    recorded("disturbed", min(shipped_recipes()), eval_signature(), **busy)
    (row,) = fleet_rows()
    assert (row.source, row.val_bpb, row.rung) == ("counts", 1.441619, Rung.CHEAP)
    assert row.num_tokens == 120 * row.shape.total_batch_size


def test_an_empty_mlflow_has_no_rows(runs):
    assert fleet_rows() == []
