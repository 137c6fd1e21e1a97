"""A bell wakes whoever waits, and whatever lies in its place does no harm."""

import os
import threading

import pytest

from shared.stages.bell import listening, ring

NEVER_S = 600.0


def test_a_ring_wakes_whoever_waits_and_the_pipe_goes_with_him(tmp_path):
    bell = tmp_path / "bell"
    with listening(bell) as wait:
        waiting = threading.Thread(target=wait, args=(NEVER_S,), daemon=True)
        waiting.start()
        ring(bell)
        waiting.join(30)
        assert not waiting.is_alive()
    assert not bell.exists()


def test_a_ring_before_the_wait_is_not_lost_and_each_wakes_once(tmp_path):
    with listening(tmp_path / "bell") as wait:
        ring(tmp_path / "bell")
        ring(tmp_path / "bell")
        wait(NEVER_S)
        wait(NEVER_S)
        wait(0.0)  # nobody rang: it comes back when the time is over


def test_a_ring_that_another_listener_took_first_wakes_without_harm(tmp_path, monkeypatch):
    with listening(tmp_path / "bell") as wait:
        monkeypatch.setattr("shared.stages.bell.select.select", lambda readers, *_: (readers, [], []))
        wait(NEVER_S)


@pytest.mark.parametrize("what", ["nothing", "file", "link", "pipe without a listener", "folder"])
def test_ringing_what_is_no_bell_changes_nothing_and_waits_for_nobody(tmp_path, what):
    bell, other = tmp_path / "bell", tmp_path / "other"
    other.write_bytes(b"kept")
    {
        "nothing": lambda: None,
        "file": lambda: bell.write_bytes(b"kept"),
        "link": lambda: bell.symlink_to(other),
        "pipe without a listener": lambda: os.mkfifo(bell),
        "folder": bell.mkdir,
    }[what]()
    ring(bell)
    assert other.read_bytes() == b"kept"
    assert what != "file" or bell.read_bytes() == b"kept"
