"""What is staged in, and that nothing but files of a stage's own names comes back."""

import os

import pytest

from shared.runs.directory import RunDirectory
from shared.stages import staging
from shared.stages.staging import MetricsMirror, stage_in, stage_out


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    path = tmp_path / "runs" / "run-1"
    (path / "checkpoint" / "step-1").mkdir(parents=True)
    for name in (
        "job.json",
        "recipe.py",
        "delivery.json",
        "training.json",
        "checkpoint/step-1/weights",
        "metrics.jsonl",
    ):
        (path / name).write_text(f"old {name}")
    return RunDirectory(path)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "spool" / "t.run" / "run-1"


def test_only_what_would_be_brought_back_after_a_power_cut_is_synced_to_the_disk(run, place, monkeypatch):
    writer, synced = staging.atomic_writer, []

    def noting(path, durable):
        synced.extend([path.name] if durable else [])
        return writer(path, durable)

    monkeypatch.setattr(staging, "atomic_writer", noting)
    stage_in(run, place, "evaluator")
    assert synced == []
    stage_in(run, place.with_name("resumed"), "trainer")
    assert sorted(synced) == ["metrics.jsonl", "weights"]


def names(path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_each_stage_gets_what_it_reads_and_no_more(run, place):
    stage_in(run, place, "trainer")
    assert names(place) == {"job.json", "recipe.py", "metrics.jsonl", "checkpoint/step-1/weights"}
    other = place.with_name("scored")
    stage_in(run, other, "evaluator")
    assert names(other) == {"job.json", "recipe.py", "training.json", "checkpoint/step-1/weights"}


def test_both_stages_get_the_kernel_that_a_run_tries(run, place):
    (run.kernels_dir / "rmsnorm").mkdir(parents=True)
    (run.kernels_dir / "rmsnorm" / "torch_tried.py").touch()
    for stage in ("trainer", "evaluator"):
        stage_in(run, place.with_name(stage), stage)
        assert "kernels/rmsnorm/torch_tried.py" in names(place.with_name(stage))


def test_the_checkpoint_comes_back_as_the_stage_left_it(run, place):
    stage_in(run, place, "trainer")
    (place / "checkpoint" / "step-1" / "weights").unlink()
    (place / "checkpoint" / "step-2").mkdir()
    (place / "checkpoint" / "step-2" / "weights").write_text("new")
    (place / "training.json").write_text("new record")
    stage_out(run, place, "trainer")
    assert names(run.checkpoint_dir) == {"step-2/weights"}
    assert run.training_file.read_text() == "new record"


@pytest.mark.parametrize("name", ["job.json", "recipe.py", "delivery.json", "result.json", "evaluation.json"])
def test_a_trainer_gives_back_only_what_a_trainer_writes(run, place, name):
    stage_in(run, place, "trainer")
    before = names(run.path)
    (place / name).write_text("forged")
    stage_out(run, place, "trainer")
    assert names(run.path) == before
    assert not (run.path / name).exists() or (run.path / name).read_text() == f"old {name}"


def test_an_evaluator_cannot_change_the_checkpoint_or_the_training_record(run, place):
    stage_in(run, place, "evaluator")
    (place / "checkpoint" / "step-1" / "weights").write_text("forged")
    (place / "training.json").write_text("forged")
    (place / "evaluation.json").write_text("record")
    stage_out(run, place, "evaluator")
    assert (run.checkpoint_dir / "step-1" / "weights").read_text() == "old checkpoint/step-1/weights"
    assert run.training_file.read_text() == "old training.json"
    assert run.evaluation_file.read_text() == "record"


def test_links_pipes_and_folders_in_place_of_files_do_not_come_back(run, place, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    stage_in(run, place, "trainer")
    (place / "training.json").symlink_to(secret)
    (place / "metrics.jsonl").unlink()
    os.mkfifo(place / "metrics.jsonl")
    (place / "checkpoint" / "link").symlink_to(secret)
    (place / "checkpoint" / "folder").symlink_to(tmp_path)
    os.mkfifo(place / "checkpoint" / "pipe")
    stage_out(run, place, "trainer")
    assert run.training_file.read_text() == "old training.json"
    assert run.metrics_file.read_text() == "old metrics.jsonl"
    assert names(run.checkpoint_dir) == {"step-1/weights"}
    assert not any(path.is_symlink() for path in run.path.rglob("*"))


def test_a_checkpoint_that_is_a_link_to_a_folder_is_left_alone(run, place, tmp_path):
    stage_in(run, place, "trainer")
    (place / "checkpoint" / "step-1" / "weights").unlink()
    (place / "checkpoint" / "step-1").rmdir()
    (place / "checkpoint").rmdir()
    (place / "checkpoint").symlink_to(tmp_path)
    stage_out(run, place, "trainer")
    assert names(run.checkpoint_dir) == {"step-1/weights"}


def test_telemetry_is_mirrored_while_the_stage_writes_it(run, place):
    stage_in(run, place, "trainer")
    (place / "metrics.jsonl").write_text("new line\n")
    MetricsMirror(run, place).look()
    assert run.metrics_file.read_text() == "new line\n"


def test_telemetry_that_became_a_link_is_not_followed(run, place, tmp_path):
    stage_in(run, place, "trainer")
    (place / "metrics.jsonl").unlink()
    (place / "metrics.jsonl").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    MetricsMirror(run, place).look()
    assert run.metrics_file.read_text() == "old metrics.jsonl"
