"""Room on the disk: what goes, and what never does."""

import os

import pytest

from shared.contracts import Status
from shared.runs import pruning
from shared.runs.directory import RunDirectory
from shared.runs.pruning import disk_warning, prunable, retain
from shared.settings import settings
from tests.shared.tracking.finished_runs import make_result, make_run


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_RUNS", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def scored(runs, name: str, age: int, val_bpb: float | None = 1.5, status: Status = Status.OK) -> RunDirectory:
    """A finished run with weights; ages count back from the newest, 0."""
    run = make_run(runs, make_result(name, val_bpb, status))
    (run.checkpoint_dir / "step-1").mkdir(parents=True)
    (run.checkpoint_dir / "latest.json").write_text("{}")
    (run.checkpoint_dir / "step-1" / "model.safetensors").write_bytes(bytes(1000))
    os.utime(run.job_file, (1e9 - age, 1e9 - age))
    return run


def names(parts) -> list[str]:
    return [part.run.run_id for part in parts]


def test_the_weights_of_all_but_the_newest_and_the_best_can_go_oldest_first(runs):
    for age, val_bpb in enumerate([1.5, 1.6, 1.7, 1.2, 1.8]):
        scored(runs, f"run-{age}", age, val_bpb)
    assert names(prunable(keep=1)) == ["run-4", "run-2", "run-1"]
    assert names(prunable(keep=3)) == ["run-4"]
    assert [part.num_bytes for part in prunable(keep=3)] == [1002]


def test_what_goes_leaves_the_records(runs):
    scored(runs, "kept", 0), scored(runs, "old", 1)
    (part,) = prunable(keep=1)
    part.remove()
    old = RunDirectory.of("old")
    assert not old.checkpoint_dir.exists()
    assert old.result().val_bpb == 1.5
    assert prunable(keep=1) == []


def test_whole_runs_go_only_when_mlflow_has_them(runs):
    scored(runs, "kept", 0), scored(runs, "waits", 1), scored(runs, "old", 2)
    (runs / "outbox").mkdir()
    (runs / "outbox" / "waits.json").write_text("{}")
    assert names(prunable(keep=1, whole=True)) == ["old"]
    prunable(keep=1, whole=True)[0].remove()
    assert not RunDirectory.of("old").path.exists()
    assert not list(runs.glob(".old*"))


def test_a_run_that_somebody_works_on_or_that_can_be_continued_is_left_alone(runs):
    busy = scored(runs, "busy", 1)
    scored(runs, "interrupted", 2, None, Status.CANCELLED)
    scored(runs, "crashed", 3, None, Status.CRASHED)
    with busy.locked():
        assert prunable(keep=0) == []


def test_days_count_from_the_start_of_a_run(runs):
    scored(runs, "best", 0, 1.0), scored(runs, "old", 1)
    young = scored(runs, "young", 2)
    os.utime(young.job_file)
    assert names(prunable(keep=0, older_than_days=1)) == ["old"]


def test_the_setting_prunes_after_every_run_and_unset_keeps_all(runs, monkeypatch):
    scored(runs, "new", 0), scored(runs, "old", 1)
    retain()
    assert RunDirectory.of("old").checkpoint_dir.exists()
    monkeypatch.setenv("ARE_KEEP_WEIGHTS", "1")
    settings.cache_clear()
    retain()
    assert not RunDirectory.of("old").checkpoint_dir.exists()
    assert RunDirectory.of("new").checkpoint_dir.exists()


def test_a_disk_with_little_room_is_said_before_it_is_full(monkeypatch):
    monkeypatch.setattr(pruning, "LEAST_FREE_BYTES", 0)
    assert disk_warning() == ""
    monkeypatch.setattr(pruning, "LEAST_FREE_BYTES", 2**62)
    assert "autoresearch runs prune" in disk_warning()
