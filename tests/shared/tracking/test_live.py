"""Runs that train are seen in MLflow with their curve so far, and recording them later adds and repeats nothing."""

import shutil

import pytest

from shared.contracts import Status, VoidCause
from shared.fleet.contracts import AttemptRecord, Delivery, Verdict
from shared.machine.vitals import note
from shared.runs.directory import RunDirectory, write_record
from shared.tracking import LiveRuns, keep_for_later, reconcile, record
from shared.tracking import reconcile_with_mlflow as repair
from shared.tracking.live import new_lines
from tests.fleet import free_port
from tests.mlflow_server import empty_store, runs, use_server
from tests.shared.tracking.finished_runs import RECIPE, make_job, make_result, make_run, make_steps
from tests.shared.tracking.test_tracking import client, stored_run, stored_runs

__all__ = ["empty_store", "runs", "use_server"]

ATTEMPT = AttemptRecord(
    job_id="job", number=1, execution="e", queue="mac", device="metal", worker="mac.host.metal.1", host="host",
    group="g-1", pid=1, started_at=1.0,
)  # fmt: skip
STEPS = [step.model_dump_json() + "\n" for step in make_steps(120)]


@pytest.fixture
def training(runs) -> RunDirectory:
    """An attempt under way, 40 of 120 steps old."""
    directory = RunDirectory(runs / ATTEMPT.run_id)
    directory.create(make_job(ATTEMPT.run_id), RECIPE)
    directory.attempt_note.parent.mkdir()
    write_record(directory.attempt_note, ATTEMPT)
    directory.metrics_file.write_text("".join(STEPS[:40]) + STEPS[40][:30])
    note(directory.system_file, "cpu")
    return directory


def settle(directory: RunDirectory, verdict: Verdict) -> None:
    write_record(directory.delivery_file, Delivery(attempt=ATTEMPT, verdict=verdict))
    directory.attempt_note.unlink()


def finish(directory: RunDirectory) -> None:
    """As the stages would, in the directory that is there."""
    other = make_run(directory.path.parent / "aside", make_result(directory.path.name))
    for file in (other.metrics_file, other.training_file, other.evaluation_file, other.result_file):
        shutil.copy2(file, directory.path)


def losses():
    return client().get_metric_history(stored_run().info.run_id, "train/loss")


def test_a_run_that_trains_is_running_and_shows_its_curve_so_far(training):
    live = LiveRuns()
    assert live.look([ATTEMPT]) == ""
    run = stored_run()
    assert (run.info.status, run.info.run_name.split()[0]) == ("RUNNING", "running")
    assert run.data.params["preset"] == "m5-small"
    tags = {"job": "job", "group": "g-1", "worker": "mac.host.metal.1", "host": "host", "status": "running"}
    assert tags.items() <= run.data.tags.items()
    assert "system/load_1m" in run.data.metrics
    assert {"val_bpb", "val_bpb_unranked"}.isdisjoint(run.data.metrics)
    assert losses()[-1].step == 39
    training.metrics_file.write_text("".join(STEPS[:90]))
    assert live.look([ATTEMPT]) == ""
    assert losses()[-1].step == 89


def test_recording_a_run_that_was_shown_while_it_trained_makes_one_run_with_every_point_once(training):
    live = LiveRuns()
    live.look([ATTEMPT])
    finish(training)
    live.look([ATTEMPT])
    settle(training, Verdict.ACCEPTED)
    assert record(training.path).pending_reason == ""
    assert live.look([]) == ""
    run = stored_run()
    assert (run.info.status, run.data.tags["status"], run.data.tags["group"]) == ("FINISHED", "ok", "g-1")
    assert run.data.metrics["val_bpb"] == make_result().val_bpb
    assert [point.step for point in losses()] == list(range(120))


def test_a_recorder_that_was_started_again_goes_on_with_the_run_that_is_there(training):
    assert [LiveRuns().look([ATTEMPT]) for _ in range(2)] == ["", ""]
    assert len(stored_runs()) == 1
    assert len(losses()) == 20  # of the same evenly spaced steps


@pytest.mark.parametrize("verdict", [Verdict.VOID, Verdict.LATE, Verdict.SUPERSEDED])
def test_an_attempt_that_came_to_nothing_leaves_no_run(training, verdict):
    live = LiveRuns()
    live.look([ATTEMPT])
    settle(training, verdict)
    assert live.look([]) == ""
    assert stored_runs() == []


def test_an_attempt_whose_recorder_died_is_left_alone_while_it_runs_and_deleted_when_it_came_to_nothing(training):
    LiveRuns().look([ATTEMPT])
    finish(training)
    assert repair() == ([], True)
    void = make_result("job-a1", None, Status.CANCELLED).model_copy(update={"void": VoidCause.DEVICE_SHARED})
    write_record(training.result_file, void)
    settle(training, Verdict.VOID)
    assert repair() == (["job-a1: deleted, its attempt does not count"], True)
    assert stored_runs() == []


def test_a_run_that_trained_on_a_host_that_is_gone_is_closed_after_an_hour(training, monkeypatch):
    LiveRuns().look([ATTEMPT])
    shutil.rmtree(training.path)
    training.attempt_note.unlink()
    assert repair() == ([], True)
    later = reconcile.time.time() + 3601
    monkeypatch.setattr(reconcile.time, "time", lambda: later)
    assert repair() == (["job-a1: closed, nobody has recorded the rest for an hour"], True)
    assert stored_run().info.status == "KILLED"


def test_an_accepted_attempt_whose_recorder_died_is_recorded(training):
    LiveRuns().look([ATTEMPT])
    finish(training)
    settle(training, Verdict.ACCEPTED)
    assert repair() == (["job-a1: will be recorded again"], True)
    keep_for_later(training.path)
    assert record(training.path).pending_reason == ""
    assert stored_run().info.status == "FINISHED"


def test_what_mlflow_missed_while_it_was_away_is_sent_later(training, runs, use_server):
    live = LiveRuns()
    use_server(f"http://127.0.0.1:{free_port()}")
    assert "no answer" in live.look([ATTEMPT])
    use_server("")
    assert live.look([ATTEMPT]) == ""
    assert losses()[-1].step == 39


def test_only_whole_lines_are_read_and_a_file_that_became_shorter_is_read_anew(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\nthr")
    assert new_lines(path, 0) == ([b"one", b"two"], 8)
    path.write_bytes(b"one\ntwo\nthree\n")
    assert new_lines(path, 8) == ([b"three"], 14)
    path.write_bytes(b"new\n")
    assert new_lines(path, 14) == ([b"new"], 4)
    (tmp_path / "link").symlink_to(path)
    assert new_lines(tmp_path / "link", 0) == ([], 0)
