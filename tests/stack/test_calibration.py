"""A calibration through the queue, in containers: the calibrator places its experiments in the executors' spools."""

import pytest

from tests.fleet import wait_for

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_a_machine_is_calibrated_through_the_queue_and_its_jobs_start_from_the_result(stack):
    job = stack.rq("calibrate", "machine", "dataset=words", "presets=m5-tiny", "budget=3", "time_budget=20")
    outcome = stack.outcome(job, 400)
    assert outcome.status == "ok", outcome.reason
    assert "platform default of cpu-" in outcome.reason
    after = stack.outcome(stack.rq("train", "after", "dataset=words", "time_budget=1"))
    assert after.status == "ok", after.reason
    assert [choice.chosen for choice in after.result.choices if choice.what == "shape"] == ["m5-tiny, calibrated"]


def test_a_calibrator_that_is_killed_goes_on_in_the_next_attempt(stack):
    job = stack.rq("calibrate", "again", "dataset=words", "presets=m5-small", "budget=4", "time_budget=30")
    wait_for(lambda: stack.activity(job) == "calibrating", 60)
    stack.kill("calibrator")
    outcome = stack.outcome(job, 500)
    assert (outcome.status, outcome.attempt) == ("ok", 2), outcome.reason
