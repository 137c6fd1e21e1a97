"""What a recipe's process may say: it cannot claim an end that only its supervisor decides."""

import pytest
from pydantic import ValidationError

from services.evaluator.messages import ANSWERS as EVALUATION_ANSWERS
from services.trainer.messages import ANSWERS, Ready, Trained
from shared.contracts import OUR_CHOICES, Status
from shared.sandbox.launch import Failed


@pytest.mark.parametrize("status", [Status.OK, Status.CANCELLED, Status.TIMED_OUT])
def test_a_failure_is_never_one_of_the_supervisors_own_verdicts(status):
    with pytest.raises(ValidationError):
        Failed(status=status, reason="")
    assert Failed(status="diverged", reason="").status is Status.DIVERGED


def test_a_reason_is_one_printable_line():
    reason = Failed(status="crashed", reason="\x1b[2J" + "a\nb" * 3000).reason
    assert len(reason) <= 1000
    assert reason.isprintable()


TRAINED = {"num_steps": 3, "train_seconds": 1.0, "last_loss": 2.0, "input_percent": 1.0, "peak_vram_mb": 5.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": -1},
        {"num_steps": 10**11},
        {"num_steps": "many"},
        {"train_seconds": float("inf")},
        {"train_seconds": -1.0},
        {"input_percent": 101.0},
        {"peak_vram_mb": 1e12},
        {"kind": "ready"},
        {"more": 1},
    ],
)
def test_a_claim_beyond_what_any_run_has_is_no_message(changes):
    assert Trained(**TRAINED)
    with pytest.raises(ValidationError):
        Trained(**TRAINED | changes)


def test_a_message_is_known_by_its_kind():
    for answers in (ANSWERS, EVALUATION_ANSWERS):
        assert {kind: model.model_fields["kind"].default for kind, model in answers.items()} == {k: k for k in answers}


@pytest.mark.parametrize("what", [*sorted(OUR_CHOICES), "Sandbox", "s\u0430ndbox"])
def test_a_choice_that_is_ours_is_not_the_recipes_to_note(what):
    ready = {"flops_per_token": None, "attention_backend": None, "hand_over_seconds": 0.0}
    choice = {"what": "optimizer", "chosen": "adam", "reason": ""}
    assert Ready(**ready, choices=[choice])
    with pytest.raises(ValidationError, match="not the recipe's to choose"):
        Ready(**ready, choices=[choice | {"what": what}])
