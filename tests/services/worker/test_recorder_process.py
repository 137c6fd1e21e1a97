"""The worker's recorder goes on, whatever becomes of its process."""

from services.worker import recorder_process
from services.worker.recorder_process import RecorderProcess
from tests.fleet import wait_for


def test_a_recorder_that_was_killed_is_started_again_and_ends_with_its_worker(workplace, monkeypatch, capfd):
    monkeypatch.setattr(recorder_process, "AGAIN_S", 0.0)
    with RecorderProcess("cpu") as recorder:
        first = recorder._process
        first.kill()
        second = wait_for(lambda: recorder._process if recorder._process is not first else None)
        assert second.poll() is None
    assert second.poll() is not None
    assert recorder._process is second
    assert "the recorder ended with code -9, so another one is started" in capfd.readouterr().err


def test_one_that_cannot_start_is_not_started_again_while_its_worker_ends(workplace, monkeypatch):
    monkeypatch.setattr(recorder_process, "AGAIN_S", 3600.0)
    with RecorderProcess("cpu") as recorder:
        first = recorder._process
        first.kill()
        first.wait()
    recorder._watching.join(30)
    assert not recorder._watching.is_alive()
    assert recorder._process is first
