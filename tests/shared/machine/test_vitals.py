"""Vital signs: what this machine tells, every 10 s, and never at the expense of the experiment."""

from shared.machine import vitals
from shared.machine.vitals import Vitals, noting_vitals


def lines(file):
    return [Vitals.model_validate_json(line) for line in file.read_text().splitlines()]


def test_a_look_tells_load_and_memory_of_this_machine():
    looked = vitals.look("cpu")
    assert looked.load_1m is not None
    assert 0 < looked.memory_percent <= 100
    assert looked.gpu_percent is None


def test_lines_are_added_ten_seconds_apart_and_the_watch_is_called_each_time(tmp_path, monkeypatch):
    now, seen = [100.0], []
    monkeypatch.setattr(vitals.time, "monotonic", lambda: now[0])
    watch = noting_vitals(seen.append, tmp_path / "system.jsonl", "cpu")
    for moment in (100.0, 105.0, 109.9, 110.0, 125.0):
        now[0] = moment
        watch("trainer")
    assert seen == ["trainer"] * 5
    assert len(lines(tmp_path / "system.jsonl")) == 3


def test_a_file_that_cannot_be_written_disturbs_nothing(tmp_path):
    noting_vitals(lambda stage: None, tmp_path / "gone" / "system.jsonl", "cpu")("trainer")
    assert not (tmp_path / "gone").exists()


def test_a_gpu_that_is_not_there_tells_nothing():
    assert vitals.gpu("cuda:7") == {}
