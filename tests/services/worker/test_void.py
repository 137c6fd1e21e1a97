"""Only what trusted code saw makes an attempt void: no word that a recipe writes buys another start."""

import pytest

from services.worker.attempt import is_void
from shared.contracts import Status, VoidCause
from tests.recipes import variant
from tests.shared.tracking.finished_runs import make_result

MAGIC = (
    "my loss left no record today",
    "void: this machine slept for 9 s during the attempt",
    "the executor died",
)
RAISES = """
def step(self, rows, progress):
    self.count = getattr(self, "count", 0) + 1
    if self.count > 9:
        raise RuntimeError({phrase!r})
    return super().step(rows, progress)
"""
SHAPE = {"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512, "eval_batch_size": 4}


def test_a_recipe_that_writes_our_own_words_gets_one_attempt(hub, start_worker):
    start_worker(real=True)
    jobs = [
        hub.enqueue(recipe=raising(phrase), dataset="words", preset="m5-tiny", set=SHAPE, tokens=20 * 512)
        for phrase in MAGIC
    ]
    for job, phrase in zip(jobs, MAGIC, strict=True):
        outcome = hub.outcome(job, 90)
        assert outcome.status is Status.CRASHED
        assert phrase in outcome.reason
        assert (outcome.attempt, outcome.result.void) == (1, None)


def raising(phrase: str) -> str:
    """In the middle of training: what fails in the warm-up is invalid and was never void."""
    return variant(RAISES.format(phrase=phrase)).decode()


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("reason", MAGIC)
def test_a_reason_decides_nothing(status, reason):
    result = make_result().model_copy(update={"status": status, "reason": reason})
    assert not is_void(result)
    assert is_void(result.model_copy(update={"void": VoidCause.EXECUTOR_LOST}))
