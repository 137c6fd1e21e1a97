"""An audit that ended before its verdict: a recipe that chose among its audits would take the one that misses it."""

import pytest

from shared.contracts import EvaluationRecord, Status, VoidCause
from shared.experiment.run import FAILED, resume, run
from tests.run_making import make_job
from tests.shared.experiment.scripted import SOURCE, Scripted, ended, run_of


@pytest.fixture(autouse=True)
def _place(workplace):
    pass


def test_a_recipe_that_ends_its_audits_before_their_verdict_is_rejected_at_the_third():
    in_audit = ended(Status.CRASHED, EvaluationRecord).model_copy(update={"unfinished_audits": 1})
    in_scoring = ended(Status.TIMED_OUT, EvaluationRecord)
    assert run(make_job(), SOURCE, Scripted(evaluation=in_audit)).status is Status.CRASHED
    for evaluation in (in_scoring, in_audit, (-9, "")):
        assert resume(run_of(), Scripted(evaluation=evaluation)).status in FAILED
    third = resume(run_of(), Scripted(evaluation=in_audit))
    assert third.status is Status.REJECTED
    assert "3 audits of this run ended before their verdict" in third.reason
    assert resume(run_of(), Scripted()) == third


class Cancelled(Scripted):
    """By somebody here, when the evaluator is at work: it leaves its record all the same."""

    def execute(self, stage, arguments, watch):
        done = super().execute(stage, arguments, watch)
        if stage == "evaluator":
            raise KeyboardInterrupt
        return done


def cancel(record: EvaluationRecord) -> None:
    with pytest.raises(KeyboardInterrupt):
        resume(run_of(), Cancelled(evaluation=record))


def test_a_recipe_that_waits_in_an_audit_for_a_friend_who_cancels_it_is_rejected_at_the_third():
    in_audit = ended(Status.CANCELLED, EvaluationRecord).model_copy(update={"unfinished_audits": 1})
    in_scoring = ended(Status.CANCELLED, EvaluationRecord)
    stood_still = in_audit.model_copy(update={"void": VoidCause.HOST_SLEPT})
    assert run(make_job(), SOURCE, Scripted(evaluation=stood_still)).status is Status.CANCELLED
    cancel(in_scoring)
    cancel(in_audit)
    cancel(in_scoring)
    assert resume(run_of(), Scripted(evaluation=in_audit)).status is Status.REJECTED


def test_an_audit_that_failed_before_the_run_was_cancelled_stands():
    run(make_job(), SOURCE, Scripted(evaluation=ended(Status.CRASHED, EvaluationRecord)))
    cancel(ended(Status.REJECTED, EvaluationRecord))
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.REJECTED
    assert executor.calls == []


def test_two_audits_that_ended_early_forbid_no_third_one_that_passes():
    in_audit = ended(Status.OUT_OF_MEMORY, EvaluationRecord).model_copy(update={"unfinished_audits": 1})
    run(make_job(), SOURCE, Scripted(evaluation=in_audit))
    resume(run_of(), Scripted(evaluation=in_audit))
    assert resume(run_of(), Scripted()).status is Status.OK
