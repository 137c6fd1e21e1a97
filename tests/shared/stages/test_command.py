"""shared/stages/command.py: how the command of a stage ends."""

import signal

import pytest

from shared.contracts import Status, TrainingRecord
from shared.sandbox.launch import Ended
from shared.stages.command import end_on_signals, exit_code


@pytest.fixture
def handlers():
    """Those of this process, put back afterwards."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("status", "code"), [(Status.OK, 0), (Status.DIVERGED, 1), (Status.CANCELLED, 1)])
def test_a_record_of_any_end_but_a_good_one_is_exit_code_one(status, code):
    assert exit_code(lambda: TrainingRecord(status=status), "run") == code


def test_what_cannot_be_used_is_one_line_and_exit_code_two(capsys):
    def unusable() -> TrainingRecord:
        raise ValueError("run has no job.json")

    assert exit_code(unusable, "run") == 2
    assert capsys.readouterr().err == "run has no job.json\n"


def test_a_full_disk_is_named_with_its_place_and_what_to_do(capsys):
    def full() -> TrainingRecord:
        raise OSError(28, "No space left on device")

    assert exit_code(full, "runs/mine") == 74
    assert capsys.readouterr().err == "No space left on device: runs/mine; make room, then resume it\n"


def test_a_signal_ends_the_work_once_and_a_second_one_does_not_disturb_the_clearing_up(handlers):
    end_on_signals()
    with pytest.raises(Ended, match="cancelled by SIGTERM") as ended:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.status is Status.CANCELLED
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
