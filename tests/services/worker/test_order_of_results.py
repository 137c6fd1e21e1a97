"""In what order the results of an idea's jobs count, where its runs were asked for on more than one set of terms."""

import pytest

from shared.contracts import Status
from shared.fleet.contracts import Outcome
from shared.research.book import Proposal, Trial
from shared.research.known import read_known, results_of_jobs
from tests.shared.research.makers import KEY, START, result

FIRST = Trial(idea=START.id, target="cpu", asked={})
SECOND = Trial(idea=START.id, target="cpu", asked={"rung": "reference"})
BOOK = [Proposal(idea=START), FIRST, SECOND]


@pytest.fixture
def end(hub):
    def end(trial: Trial, val_bpb: float) -> None:
        made = result(START, 0, val_bpb, run_id=f"{trial.job_id(0)}-a1")
        outcome = Outcome(job_id=trial.job_id(0), status=Status.OK, attempt=1, run_id=made.run_id, result=made)
        hub.store.begin(outcome.job_id, "one", "digest")
        hub.store.accept("one", outcome)

    return end


@pytest.mark.parametrize("trials", [(FIRST, SECOND), (SECOND, FIRST)])
def test_of_two_results_with_one_seed_the_first_is_that_which_ended_first(hub, end, trials):
    """Who asks for runs on many terms would run the last ones first, and more of them until the pool is bad."""
    for trial, val_bpb in zip(trials, (2.0, 2.1), strict=True):
        end(trial, val_bpb)
    known = read_known(BOOK, results_of_jobs(hub.store, BOOK), believe_missing=False)
    assert known.pool(START, KEY).values == [2.0]
