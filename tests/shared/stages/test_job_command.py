"""shared/stages/job_command.py: how a command that takes a job as JSON reads it and ends."""

import signal

import pytest

from shared.contracts import Contract
from shared.machine.device_lock import DeviceBusy
from shared.stages.executors import NativeExecutor
from shared.stages.job_command import job_exit_code, parse_job, stages_here
from shared.stages.spool import SpoolExecutor


class Errand(Contract):
    minutes: int


@pytest.fixture(autouse=True)
def handler():
    """That of this process, put back afterwards."""
    kept = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, kept)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "one argument is needed, the JSON of one Errand: autoresearch errand makes it"),
        (["{}"], "not a valid Errand: minutes: Field required"),
        (["{"], "not a valid Errand: job: Invalid JSON"),
    ],
)
def test_what_is_no_job_is_refused_in_one_line(arguments, said):
    with pytest.raises(ValueError, match=said) as refused:
        parse_job(Errand, arguments, "autoresearch errand")
    assert "\n" not in str(refused.value)


def test_a_job_is_read():
    assert parse_job(Errand, ['{"minutes": 3}'], "autoresearch errand") == Errand(minutes=3)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ValueError("no such\nshape"), 2, "no such shape"),
        (OSError(28, "No space left on device", "here"), 74, "No space left on device: here; make room or access"),
        (OSError("No space left on device: here; make room"), 74, "No space left on device: here; make room\n"),
        (DeviceBusy("the device is in use"), 75, "the device is in use"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again"),
    ],
)
def test_each_end_has_its_exit_code_and_one_line(capsys, error, code, line):
    def work() -> None:
        raise error

    assert job_exit_code(work) == code
    said = capsys.readouterr().err
    assert said.startswith(line)
    assert said.count("\n") == 1


def test_sigterm_ends_the_work_as_ctrl_c_does():
    assert job_exit_code(lambda: signal.raise_signal(signal.SIGTERM)) == 130


def test_experiments_are_placed_in_the_spool_where_there_is_one(monkeypatch, tmp_path):
    from shared.settings import settings

    monkeypatch.delenv("ARE_SPOOL", raising=False)
    settings.cache_clear()
    assert isinstance(stages_here(), NativeExecutor)
    monkeypatch.setenv("ARE_SPOOL", str(tmp_path))
    settings.cache_clear()
    found = stages_here()
    settings.cache_clear()
    assert isinstance(found, SpoolExecutor)
    assert found.folder == tmp_path
