"""Runs of an idea on a target whose machines differ: they count in their order on each of them."""

from types import SimpleNamespace

import pytest

from services.console.research import Fleet, NothingMeasured
from shared.contracts import Unranked
from shared.fleet import view as views
from shared.research.book import Trial
from shared.research.comparable import MOST_AGAIN, most_jobs
from shared.research.judge import judge
from tests.shared.research.makers import KEY, START, idea, known, result, results

ONE = idea()
TRIAL = Trial(idea=ONE.id, target="cpu", asked={})
THERE = {"hardware_key": "cpu-other"}
VAIN = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0}


@pytest.fixture
def next_job(monkeypatch):
    """The job that makes run 0 for KEY after jobs that ended so; by its number."""

    def next_job(*ended: dict, hardware_key: str | None = KEY.hardware_key) -> int:
        names = [TRIAL.job_id(0, again) for again in range(most_jobs(ONE))]
        made = {name: result(ONE, 0, run_id=name, **changes) for name, changes in zip(names, ended, strict=False)}

        def view(store, job_id):
            outcome = SimpleNamespace(result=made[job_id]) if job_id in made else None
            return SimpleNamespace(job_id=job_id, state="done" if outcome else "unknown", outcome=outcome, summary="")

        monkeypatch.setattr(views, "view", view)
        return names.index(Fleet._free(None, ONE, TRIAL, 0, hardware_key))

    return next_job


def test_a_run_that_another_machine_took_is_made_again_for_this_one(next_job):
    assert next_job(THERE) == 1
    assert next_job(THERE, {}) == 1
    assert next_job(THERE, hardware_key=None) == 0


def test_what_other_machines_took_is_none_of_three_tries(next_job):
    assert next_job(THERE, VAIN, VAIN) == 3
    with pytest.raises(NothingMeasured, match="measured nothing"):
        next_job(THERE, *[VAIN] * MOST_AGAIN)
    with pytest.raises(NothingMeasured, match="other machines than cpu-test took it"):
        next_job(*[THERE] * most_jobs(ONE))


def test_decide_says_which_run_is_missing_here():
    runs = [result(ONE, 0, run_id="there", **THERE), result(ONE, 1, 1.9)]
    judged = judge(known((START, results(START, 2.0)), (ONE, runs)), ONE, KEY, None)
    assert judged.decision.idea_needs == 1
    assert f"its run 0, with seed {runs[0].seed}, has no result here" in judged.left_out[runs[1].run_id]
