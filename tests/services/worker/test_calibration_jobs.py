"""Calibrations as jobs: what is wrong with one is its outcome; one that is killed goes on in the next attempt."""

import json

import psutil
import pytest

from services.worker.calibrations import said_of
from shared.contracts import Status
from shared.settings import settings
from tests.device_holding import held_elsewhere
from tests.fleet import wait_for
from tests.platform_defaults import calibrated, unmeasured

BAD = {
    "unknown preset": ({"presets": "m9"}, "unknown preset 'm9': choose one of m5-tiny"),
    "too short": ({"budget": "0.1"}, "one probe of each of 5 presets takes at least 1.0 minutes"),
    "no such mode": ({"mode": "slow"}, "mode: Input should be 'fast' or 'full'"),
    "no dataset": ({"dataset": "nothing"}, "nothing"),
    "unknown argument": ({"minutes": 3}, "unknown argument 'minutes': choose from budget"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_calibration_is_its_outcome_in_one_line(hub, start_worker, arguments, said):
    start_worker()
    outcome = hub.outcome(hub.enqueue("calibrate", **{"dataset": "words", **arguments}))
    assert outcome.status is Status.INVALID
    assert said in outcome.reason
    assert "\n" not in outcome.reason


def calibrators(worker) -> list[psutil.Process]:
    return [process for process in psutil.Process(worker.pid).children(recursive=True) if runs_calibrator(process)]


def runs_calibrator(process: psutil.Process) -> bool:
    try:
        return "services.calibrator" in process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return False


def test_a_calibration_waits_for_a_device_in_use_and_can_be_cancelled(hub, start_worker):
    with held_elsewhere("cpu"):
        worker = start_worker(real=True)
        job = hub.enqueue("calibrate", dataset="words", presets="m5-tiny", budget=2)
        wait_for(lambda: calibrators(worker))
        wait_for(lambda: not calibrators(worker))  # it found the device in use
        assert hub.store.outcome(job) is None
        hub.store.ask_to_cancel(job)
        assert hub.outcome(job).status is Status.CANCELLED


@pytest.mark.slow
def test_a_calibration_whose_worker_is_killed_goes_on_and_leaves_a_default(hub, start_worker, workplace):
    job = hub.enqueue("calibrate", dataset="words", presets="m5-tiny", budget=2, time_budget=20)
    worker = start_worker(real=True)
    first = wait_for(lambda: [*workplace.glob("cal-*/result.json")], timeout_s=90)
    worker.kill()
    start_worker(real=True)
    outcome = hub.outcome(job, 240)
    assert (outcome.status, outcome.attempt) == (Status.OK, 2), outcome.reason
    assert "platform default of cpu-" in outcome.reason
    (place,) = (settings().home / "platform").glob("*/default-torch.json")
    assert json.loads(place.read_text())["family"] == "m5-tiny"
    assert first[0].stat().st_nlink  # what was measured before the kill is still the evidence
    place.unlink()


def test_a_calibration_is_told_in_a_line_with_what_it_expects_or_why_that_is_nothing():
    key = calibrated().hardware_key
    expects = "expects val_bpb 1.7500 +- 0.0200, confidence medium"
    assert said_of(calibrated()) == f"platform default of {key}: m5-tiny, {expects}"
    why = "confidence none: no probe came to a number; next: find out what is wrong"
    assert said_of(unmeasured()) == f"platform default of {key}: m5-tiny, {why}"
