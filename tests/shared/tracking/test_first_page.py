"""What a person sees first in MLflow: val_bpb as a sorted column, ranked runs apart from the others."""

import json

import pytest

from shared.contracts import Rung, Unranked
from shared.tracking import mlflow_store, record
from shared.tracking.idea_runs import KEY, nest
from shared.tracking.mlflow_mapping import IDEA_TAG, experiment_name
from shared.tracking.pages import pages
from shared.tracking.saved_view import IDEAS, RUNS, keep_view, state, tag
from tests.mlflow_server import empty_store, runs
from tests.shared.tracking.finished_runs import RECIPE, make_result, make_run
from tests.shared.tracking.test_tracking import client, stored_run, stored_runs

__all__ = ["empty_store", "runs"]

DEMO = {"ranked": False, "unranked": (Unranked.DEMO_CORPUS,)}
SMOKE = {"ranked": False, "unranked": (Unranked.SMOKE_RUNG,), "rung": Rung.SMOKE}


def experiment():
    return client().get_experiment_by_name(experiment_name("mac"))


@pytest.mark.parametrize("changes", [DEMO, SMOKE], ids=["demo", "smoke"])
def test_a_run_that_is_not_ranked_has_its_score_under_another_name(runs, changes):
    record(make_run(runs, make_result("good", 1.5)).path)
    record(make_run(runs, make_result("other", 1.1).model_copy(update=changes)).path)
    (best, *_) = client().search_runs([experiment().experiment_id], order_by=["metrics.`val_bpb` ASC"])
    assert best.data.tags["are.run_id"] == "good"
    (other,) = (run for run in stored_runs() if run.data.tags["are.run_id"] == "other")
    assert "val_bpb" not in other.data.metrics
    assert other.data.metrics["val_bpb_unranked"] == 1.1
    assert [name for name in other.data.metrics if "curve" in name] == ["curve/val_bpb_unranked"]
    assert other.info.run_name.startswith("(1.1000) m5-small")


def test_the_experiment_of_a_target_has_the_saved_view(runs):
    record(make_run(runs).path)
    view = json.loads(experiment().tags[tag(RUNS)])
    assert view == state()
    assert json.loads(experiment().tags[tag(IDEAS)]) == state(IDEAS)
    columns = [name for name in view["selectedColumns"] if name.startswith("metrics.")]
    assert (columns[0], view["orderByKey"], view["orderByAsc"]) == ("metrics.`val_bpb`", "metrics.`val_bpb`", True)
    assert [chart["metricKey"] for chart in view["compareRunCharts"]][:2] == ["val_bpb", "train/loss_ema"]
    sections = [section["uuid"] for section in view["compareRunSections"]]
    assert {chart["metricSectionId"] for chart in view["compareRunCharts"]} == {sections[0]}


def test_every_column_and_chart_of_the_view_is_something_that_runs_have(runs):
    record(make_run(runs, make_result("good")).path)
    record(make_run(runs, make_result("other").model_copy(update=DEMO)).path)
    data = [run.data for run in stored_runs()]
    known = {f"metrics.`{name}`" for one in data for name in one.metrics}
    known |= {f"params.`{name}`" for one in data for name in one.params} | {
        f"tags.`{n}`" for one in data for n in one.tags
    }
    view = state()
    assert {name for name in view["selectedColumns"] if not name.startswith("attributes.")} <= known
    assert {f"metrics.`{chart['metricKey']}`" for chart in view["compareRunCharts"]} <= known


def test_the_view_of_ideas_holds_ideas_alone(runs):
    record(make_run(runs, make_result("good")).path)
    (run,) = stored_runs()
    client().set_tag(run.info.run_id, IDEA_TAG, "i0123456789")
    nest(client(), run.info.experiment_id, run.info.run_id)
    found = client().search_runs([experiment().experiment_id], state(IDEAS)["searchFilter"])
    assert [KEY in run.data.tags for run in found] == [True]


def test_an_older_view_is_replaced_and_views_of_people_stay(runs):
    record(make_run(runs).path)
    client().set_experiment_tag(experiment().experiment_id, tag(RUNS), "{}")
    client().set_experiment_tag(experiment().experiment_id, "mlflow.sharedViewState.mine", "{}")
    keep_view(client(), experiment())
    assert json.loads(experiment().tags[tag(RUNS)]) == state()
    assert experiment().tags["mlflow.sharedViewState.mine"] == "{}"


def test_pages_are_those_of_targets_and_a_new_hub_has_one(runs):
    record(make_run(runs).path)
    mlflow_store.experiment_id(client(), "calibration", "not a target")
    found = dict(pages("http://hub:5000", also="cpu"))
    assert set(found) == {"mac", "cpu"}
    assert found["mac"] == (
        f"http://hub:5000/#/experiments/{experiment().experiment_id}/runs"
        "?viewStateShareKey=autoresearch&workflowType=machine_learning"
    )


def test_resolved_settings_are_parameters_and_the_recipes_difference_an_artifact(runs):
    from shared.contracts import Choice

    choices = (
        Choice(what="dtype", chosen="bfloat16", reason="native here"),
        Choice(what="compile", chosen="on", reason="it pays"),
    )
    record(make_run(runs, make_result().model_copy(update={"choices": choices})).path)
    assert {"dtype_resolved": "bfloat16", "compile_resolved": "on"}.items() <= stored_run().data.params.items()
    folder = runs / "mlflow-artifacts" / "mac" / stored_run().info.run_id / "artifacts"
    difference = (folder / "recipe.diff").read_text()
    assert difference.startswith("--- gpt_mlx.py\n+++ recipe.py\n")
    assert "+" + RECIPE.decode().splitlines()[0] in difference.splitlines()
