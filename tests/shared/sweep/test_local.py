"""A sweep on this machine: its experiments run one after the other, are taken up again, and wait for the device."""

from contextlib import nullcontext

import pytest

from shared.contracts import Status, VoidCause
from shared.experiment import run as experiment
from shared.experiment.request import TrainRequest
from shared.machine.device_lock import DeviceBusy
from shared.runs.directory import RunDirectory
from shared.sweep import local
from shared.sweep.local import LocalPlace
from shared.sweep.night import Experiment
from tests.fleet_worker import FastExecutor
from tests.recipes import HONEST

REQUEST = TrainRequest(preset="m5-tiny", device="cpu", engine="torch", dataset="words", time_budget=0.1, rung="cheap")


@pytest.fixture
def place(workplace, monkeypatch):
    monkeypatch.setenv("FAST_DEVICE", "cpu")
    recorded, said = [], []
    watched = nullcontext(lambda stage: None)
    made = LocalPlace(FastExecutor(), lambda _: watched, lambda run: recorded.append(run.path.name), said.append)
    made.recorded, made.said = recorded, said
    return made


def test_an_experiment_is_run_under_the_name_that_the_sweep_gave_it_and_recorded(place):
    place.begin(Experiment("t-000-s42", REQUEST, HONEST.encode()))
    (finished,) = place.collect()
    assert (finished.run_id, finished.result.status, finished.result.seed) == ("t-000-s42", Status.OK, 42)
    assert RunDirectory.of("t-000-s42").result() == finished.result
    assert place.recorded == ["t-000-s42"]


def test_one_that_had_ended_before_a_kill_is_not_run_again(place):
    for _ in range(2):
        place.begin(Experiment("t-000-s42", REQUEST, HONEST.encode()))
        (finished,) = place.collect()
    assert len(list((RunDirectory.of("x").path.parent / "intervals").iterdir())) == 1
    assert finished.result.status is Status.OK


def test_what_cannot_be_run_here_is_a_reason(place):
    asked = REQUEST.model_copy(update={"set": {"depth": "0"}})
    place.begin(Experiment("t-001-s42", asked, HONEST.encode()))
    (finished,) = place.collect()
    assert finished.result is None
    assert "depth" in finished.reason


def test_a_void_attempt_is_repeated(place, monkeypatch):
    ends, real = [VoidCause.DEVICE_SHARED, None], experiment.resume

    def disturbed(*arguments):
        result = real(*arguments) if RunDirectory.of("t-0").result_file.exists() else first(*arguments)
        return result.model_copy(update={"void": ends.pop(0)})

    first = experiment.run
    monkeypatch.setattr(local.experiment, "run", disturbed)
    monkeypatch.setattr(local.experiment, "resume", disturbed)
    place.begin(Experiment("t-0", REQUEST, HONEST.encode()))
    (finished,) = place.collect()
    assert finished.result.void is None
    assert ends == []


def test_a_device_in_use_is_waited_for_and_said_once(place, monkeypatch):
    answers, real = [DeviceBusy("cpu is in use"), DeviceBusy("cpu is in use")], experiment.run

    def busy(*arguments):
        if answers:
            raise answers.pop()
        return real(*arguments)

    monkeypatch.setattr(local.experiment, "run", busy)
    monkeypatch.setattr(local.time, "sleep", lambda seconds: None)
    place.begin(Experiment("t-0", REQUEST, HONEST.encode()))
    (finished,) = place.collect()
    assert finished.result.status is Status.OK
    assert place.said == ["cpu is in use"]
