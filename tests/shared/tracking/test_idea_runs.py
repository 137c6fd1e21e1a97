"""Ideas in MLflow: a run of its own with its seeds below it, showing their mean and interval."""

import pytest

from shared.contracts import Integrity, Status, Unranked
from shared.research.book import LocalBook, Proposal
from shared.research.idea import new_nonce, propose
from shared.runs.directory import write_record
from shared.tracking import idea_runs, record
from shared.tracking.idea_runs import NESTED, nest, spread_of
from shared.tracking.mlflow_mapping import COUNTED_TAG
from tests.mlflow_server import empty_store, runs
from tests.shared.tracking.finished_runs import RECIPE, make_job, make_result, make_run
from tests.shared.tracking.test_tracking import client, stored_runs

__all__ = ["empty_store", "runs"]


IDEA = propose(RECIPE, propose(b"x = 1\n"), b"x = 1\n", note="wider embeddings", nonce=new_nonce())


@pytest.fixture
def book(runs):
    """Of this machine, with the idea."""
    LocalBook().append(Proposal(idea=IDEA))
    return runs


def record_run(root, name: str, val_bpb: float | None, seed: int, idea=IDEA, **changes):
    """A run of the idea, as recording leaves it in MLflow."""
    status = Status.OK if val_bpb is not None else Status.CRASHED
    own = {"idea": idea.id, "integrity": Integrity.FULL, "shape": make_job().shape}
    result = make_result(name, val_bpb, status, seed=seed).model_copy(update=own | changes)
    directory = make_run(root, result)
    write_record(directory.job_file, directory.job().model_copy(update={"idea": idea.ref}))
    assert not record(directory.path).pending_reason
    (run,) = (run for run in stored_runs() if run.data.tags.get("are.run_id") == name)
    return run.info.run_id


def ideas():
    return [run for run in stored_runs() if idea_runs.KEY in run.data.tags]


def test_seeds_of_an_idea_are_nested_below_one_run_with_their_mean_and_interval(book):
    children = [record_run(book, f"r{place}", 1.50 + 0.02 * place, IDEA.seed(place)) for place in range(3)]
    (idea,) = ideas()
    assert all(client().get_run(child).data.tags[NESTED] == idea.info.run_id for child in children)
    shown = idea.data.metrics
    assert shown["val_bpb"] == pytest.approx(1.52)
    assert shown["val_bpb_high"] - shown["val_bpb"] == pytest.approx(4.302653 * 0.02 / 3**0.5, rel=1e-6)
    assert (shown["num_seeds"], idea.info.status) == (3, "FINISHED")
    assert idea.info.run_name == "1.5200 +-0.0497 n=3: wider embeddings"


def test_seeds_that_nobody_drew_and_seeds_after_a_gap_count_for_nothing(book):
    record_run(book, "a", 1.50, IDEA.seed(0))
    record_run(book, "lucky", 1.10, 7)
    record_run(book, "later", 1.10, IDEA.seed(2))
    (idea,) = ideas()
    assert (idea.data.metrics["val_bpb"], idea.data.metrics["num_seeds"]) == (1.50, 1)


def test_what_is_not_ranked_counts_for_nothing(book):
    record_run(book, "a", 1.50, IDEA.seed(0))
    record_run(book, "b", 1.10, IDEA.seed(1), ranked=False, unranked=(Unranked.BUSY_MACHINE,))
    (idea,) = ideas()
    assert (idea.data.metrics["val_bpb"], idea.data.metrics["num_seeds"]) == (1.50, 1)


@pytest.mark.parametrize("values", [(1.50, 1.58), (1.58, 1.50)])
def test_of_two_runs_with_one_seed_the_worse_counts(book, values):
    for place, value in enumerate(values):
        record_run(book, f"r{place}", value, IDEA.seed(0))
    (idea,) = ideas()
    assert (idea.data.metrics["val_bpb"], idea.data.metrics["num_seeds"]) == (1.58, 1)


def test_failures_are_shown_beside_the_scores(book):
    record_run(book, "a", 1.50, IDEA.seed(0))
    record_run(book, "b", None, IDEA.seed(1))
    (idea,) = ideas()
    assert idea.info.run_name == "1.5000 n=1, 1 failed: wider embeddings"
    assert idea.data.metrics["num_failed"] == 1


def test_an_idea_whose_every_run_failed_says_so(book):
    record_run(book, "b", None, IDEA.seed(0))
    (idea,) = ideas()
    assert (idea.info.status, idea.info.run_name) == ("FAILED", "no number yet, 1 runs, 1 failed: wider embeddings")


def test_an_idea_without_a_number_says_so(book):
    record_run(book, "b", 1.10, IDEA.seed(0), ranked=False, unranked=(Unranked.OVER_BUDGET,))
    (idea,) = ideas()
    assert "val_bpb" not in idea.data.metrics
    assert (idea.info.status, idea.info.run_name) == ("FAILED", "no number yet, 1 runs: wider embeddings")


def test_a_run_of_an_idea_that_is_in_no_book_counts_for_nothing(book):
    record_run(book, "a", 1.50, 1, idea=propose(RECIPE + b"#\n", note="unknown"))
    (idea,) = ideas()
    assert idea.info.run_name == "no number yet, 1 runs: unknown"


def test_a_note_of_evidence_that_makes_no_sense_is_passed_over(book):
    run = record_run(book, "a", 1.50, IDEA.seed(0))
    other = record_run(book, "lucky", 1.10, 7)
    client().set_tag(other, COUNTED_TAG, '{"values": "none"}')
    nest(client(), client().get_run(run).info.experiment_id, run)
    (idea,) = ideas()
    assert idea.data.metrics["val_bpb"] == 1.50


def test_a_run_of_no_idea_stays_alone(runs):
    record(make_run(runs).path)
    (run,) = stored_runs()
    nest(client(), run.info.experiment_id, run.info.run_id)
    assert NESTED not in client().get_run(run.info.run_id).data.tags
    assert ideas() == []


def test_one_seed_has_no_interval():
    assert spread_of([1.5]).half_width is None
    assert spread_of([]) is None
