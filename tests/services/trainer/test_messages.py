"""What a recipe's process may say: it cannot claim an end that only its supervisor decides."""

import pytest
from pydantic import ValidationError

from services.evaluator.messages import Failed as EvaluationFailed
from services.trainer.messages import Failed
from services.trainer.supervisor import parse
from shared.contracts import Status


@pytest.mark.parametrize("status", [Status.OK, Status.CANCELLED, Status.TIMED_OUT, Status.REJECTED])
def test_a_failure_in_training_is_never_one_of_the_supervisors_own_verdicts(status):
    with pytest.raises(ValidationError):
        parse({"kind": "failed", "status": status, "reason": ""})
    assert parse({"kind": "failed", "status": "diverged", "reason": ""}) == Failed(status=Status.DIVERGED, reason="")


@pytest.mark.parametrize("status", [Status.OK, Status.CANCELLED, Status.TIMED_OUT, Status.INVALID])
def test_a_failure_in_evaluation_is_never_one_of_the_evaluators_own_verdicts(status):
    with pytest.raises(ValidationError):
        EvaluationFailed(status=status, reason="")


@pytest.mark.parametrize(
    "content", [{}, {"kind": "start"}, {"kind": "trained"}, {"kind": "trained", "num_steps": "many"}, {"kind": ["x"]}]
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(ValueError, match=r"unknown message|validation error"):
        parse(content)
