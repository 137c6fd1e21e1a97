"""Ideas in MLflow: a run of its own with its seeds below it, showing their mean and interval."""

import pytest

from shared.contracts import Unranked
from shared.tracking import idea_runs, record
from shared.tracking.idea_runs import NESTED, nest, spread_of
from shared.tracking.mlflow_mapping import IDEA_TAG, NOTE_TAG
from tests.mlflow_server import empty_store, runs
from tests.shared.tracking.finished_runs import make_result, make_run
from tests.shared.tracking.test_tracking import client, stored_runs

__all__ = ["empty_store", "runs"]


def record_seed(root, name: str, val_bpb: float, seed: int, **changes):
    """A run of idea i1, as recording leaves it in MLflow; with its tags set here."""
    result = make_result(name, val_bpb, seed=seed).model_copy(update=changes)
    record(make_run(root, result).path)
    (run,) = (run for run in stored_runs() if run.data.tags.get("are.run_id") == name)
    client().set_tag(run.info.run_id, IDEA_TAG, "i1")
    client().set_tag(run.info.run_id, NOTE_TAG, "wider embeddings")
    nest(client(), run.info.experiment_id, run.info.run_id)
    return run.info.run_id


def ideas():
    return [run for run in stored_runs() if idea_runs.KEY in run.data.tags]


def test_seeds_of_an_idea_are_nested_below_one_run_with_their_mean_and_interval(runs):
    children = [record_seed(runs, f"r{seed}", value, seed) for seed, value in ((1, 1.50), (2, 1.52), (3, 1.54))]
    (idea,) = ideas()
    assert all(client().get_run(child).data.tags[NESTED] == idea.info.run_id for child in children)
    shown = idea.data.metrics
    assert shown["val_bpb"] == pytest.approx(1.52)
    assert shown["val_bpb_high"] - shown["val_bpb"] == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-6)
    assert (shown["num_seeds"], idea.info.status) == (3, "FINISHED")
    assert idea.info.run_name == "1.5200 +-0.0497 n=3: wider embeddings"


def test_what_is_not_ranked_counts_for_nothing_and_a_seed_counts_once(runs):
    record_seed(runs, "a", 1.50, 1)
    record_seed(runs, "b", 1.10, 2, ranked=False, unranked=(Unranked.OVER_BUDGET,))
    (idea,) = ideas()
    assert (idea.data.metrics["val_bpb"], idea.data.metrics["num_seeds"]) == (1.50, 1)
    record_seed(runs, "c", 1.58, 1)
    (idea,) = ideas()
    assert (idea.data.metrics["val_bpb"], idea.data.metrics["num_seeds"]) == (1.58, 1)


def test_an_idea_without_a_number_says_so(runs):
    record_seed(runs, "b", 1.10, 2, ranked=False, unranked=(Unranked.OVER_BUDGET,))
    (idea,) = ideas()
    assert "val_bpb" not in idea.data.metrics
    assert (idea.info.status, idea.info.run_name) == ("FAILED", "no number yet, 1 runs: wider embeddings")


def test_a_run_of_no_idea_stays_alone(runs):
    record(make_run(runs).path)
    (run,) = stored_runs()
    nest(client(), run.info.experiment_id, run.info.run_id)
    assert NESTED not in client().get_run(run.info.run_id).data.tags
    assert ideas() == []


def test_one_seed_has_no_interval():
    assert spread_of([1.5]).half_width is None
    assert spread_of([]) is None
