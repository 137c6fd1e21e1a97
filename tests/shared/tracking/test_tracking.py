"""Recording against real MLflow: a sqlite store, and a server that is killed, restarted, hung or absent."""

import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from shared.contracts import Status
from shared.runs.directory import write_record
from shared.settings import settings
from shared.tracking import flush_outbox, mlflow_store, outbox, pending_notes, record
from shared.tracking.mlflow_mapping import experiment_name
from shared.tracking.series import MAX_POINTS
from tests.fleet import free_port
from tests.mlflow_server import MlflowServer, empty_store, runs, use_server
from tests.shared.tracking.finished_runs import make_result, make_run

__all__ = ["empty_store", "runs", "use_server"]

DEADLINE_S = 60.0


def client():
    return mlflow_store._client(settings().mlflow_uri)


def stored_runs(target="mac"):
    experiment = client().get_experiment_by_name(experiment_name(target))
    return client().search_runs([experiment.experiment_id]) if experiment else []


def stored_run():
    (run,) = stored_runs()
    return run


# the sqlite store


def test_a_finished_run_is_recorded_with_its_numbers_settings_and_provenance(runs):
    result = make_result("run-1")
    recorded = record(make_run(runs, result).path)
    run = stored_run()
    assert (recorded.run_id, recorded.url, recorded.pending_reason) == ("run-1", None, "")
    assert run.info.status == "FINISHED"
    assert run.info.run_name == f"1.4416 m5-small s42 {result.recipe_sha[:7]}"
    assert run.info.end_time - run.info.start_time == 318_400
    assert run.data.metrics["val_bpb"] == result.val_bpb
    assert run.data.metrics["curve/val_bpb"] == result.val_bpb
    assert {"preset": "m5-small", "depth": "4", "seed": "42", "budget": "300 s"}.items() <= run.data.params.items()
    expected = {
        "are.run_id": "run-1",
        "status": "ok",
        "ranked": "true",
        "metric.source": "trusted",
        "rung": "reference",
    }
    assert expected.items() <= run.data.tags.items()
    assert run.data.tags["dataset"] == result.dataset
    assert run.data.tags["eval_signature"] == result.eval_signature
    assert run.inputs.dataset_inputs[0].dataset.name == "climbmix-10"


def test_every_file_of_evidence_and_a_picture_become_artifacts_beside_the_store(runs):
    directory = make_run(runs)
    record(directory.path)
    run_id = stored_run().info.run_id
    names = {artifact.path for artifact in client().list_artifacts(run_id)}
    evidence = {"job.json", "result.json", "training.json", "evaluation.json", "metrics.jsonl", "output.log"}
    assert names == {*evidence, "recipe.py", "recipe.diff", "training.png"}
    folder = runs / "mlflow-artifacts" / "mac" / run_id / "artifacts"
    assert (folder / "metrics.jsonl").read_bytes() == directory.metrics_file.read_bytes()
    assert (folder / "training.png").read_bytes().startswith(b"\x89PNG")


def test_the_loss_is_stored_at_every_step(runs):
    record(make_run(runs, num_steps=120).path)
    history = client().get_metric_history(stored_run().info.run_id, "train/loss")
    assert [point.step for point in history] == list(range(120))


def test_a_very_long_run_is_thinned_between_its_first_and_last_step_and_says_so(runs):
    record(make_run(runs, num_steps=2_500).path)
    run = stored_run()
    history = client().get_metric_history(run.info.run_id, "train/loss")
    assert (len(history), history[0].step, history[-1].step) == (MAX_POINTS, 0, 2_499)
    assert "series show 1,000 of 2,500 steps" in run.data.tags["record.notes"]


@pytest.mark.parametrize(
    ("status", "mlflow_status"),
    [(Status.DIVERGED, "FAILED"), (Status.REJECTED, "FAILED"), (Status.CANCELLED, "KILLED")],
)
def test_a_run_without_a_number_is_recorded_with_its_status_and_reason(runs, status, mlflow_status):
    record(make_run(runs, make_result("bad", None, status, "loss 131.2 above 100")).path)
    run = stored_run()
    assert run.info.status == mlflow_status
    assert run.info.run_name.startswith(f"{status} m5-small")
    expected = {"status": str(status), "reason": "loss 131.2 above 100", "ranked": "false", "metric.source": "none"}
    assert expected.items() <= run.data.tags.items()
    assert "val_bpb" not in run.data.metrics


def test_a_run_that_failed_before_its_first_step_is_recorded(runs):
    directory = make_run(runs, make_result("early", None, Status.OUT_OF_MEMORY, "shape too large"), num_steps=0)
    directory.output_file.unlink()
    assert record(directory.path).pending_reason == ""


def test_recording_twice_makes_one_run_and_no_second_points(runs):
    directory = make_run(runs)
    record(directory.path)
    assert record(directory.path).pending_reason == ""
    assert len(client().get_metric_history(stored_run().info.run_id, "train/loss")) == 120


def test_a_run_scored_again_updates_its_record_and_repeats_no_step(runs):
    directory = make_run(runs)
    record(directory.path)
    write_record(directory.result_file, make_result("run-1", val_bpb=1.4))
    record(directory.path)
    run = stored_run()
    assert run.data.metrics["val_bpb"] == 1.4
    assert run.info.run_name.startswith("1.4000")
    assert len(client().get_metric_history(run.info.run_id, "train/loss")) == 120


@pytest.mark.parametrize("seam", ["_upload", "_fill"])
def test_an_attempt_cut_short_is_completed_by_the_next_one(runs, monkeypatch, seam):
    def power_cut(*_):
        raise KeyboardInterrupt

    directory = make_run(runs)
    with monkeypatch.context() as patched:
        patched.setattr(mlflow_store, seam, power_cut)
        with pytest.raises(KeyboardInterrupt):
            record(directory.path)
    assert stored_run().info.status == "RUNNING"
    assert [note.stem for note in pending_notes()] == ["run-1"]
    assert [recorded.pending_reason for recorded in flush_outbox()] == [""]
    run = stored_run()
    assert run.info.status == "FINISHED"
    assert len(client().get_metric_history(run.info.run_id, "train/loss")) == 120
    assert pending_notes() == []


def test_an_error_inside_mlflow_never_reaches_the_experiment(runs, monkeypatch):
    def broken(*_):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(mlflow_store, "_find_or_create", broken)
    assert record(make_run(runs).path).pending_reason == "RuntimeError: two lines"
    assert [note.stem for note in pending_notes()] == ["run-1"]


RECORD_WITHOUT_NETWORK = """
import os, sys
from pathlib import Path

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        os._exit(3)

sys.addaudithook(refuse)
from shared.tracking import record
print(record(Path(sys.argv[1])))
"""


def test_two_processes_that_record_the_same_run_make_one_and_call_nobody(runs):
    directory = make_run(runs)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MLFLOW", "CI"))}
    command = [sys.executable, "-c", RECORD_WITHOUT_NETWORK, str(directory.path)]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=DEADLINE_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert all(text.count("\n") == 1 for text in said), "recording is silent"
    flush_outbox()
    assert stored_run().info.status == "FINISHED"
    assert pending_notes() == []


def test_an_unfinished_run_is_refused(runs):
    directory = make_run(runs)
    directory.result_file.unlink()
    with pytest.raises(ValueError, match="not finished"):
        record(directory.path)
    assert pending_notes() == []


def test_a_note_whose_run_is_gone_is_reported_and_holds_up_nobody(runs, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(mlflow_store, "_find_or_create", lambda *_: 1 / 0)
        for name in ("first", "second"):
            record(make_run(runs, make_result(name)).path)
    shutil.rmtree(runs / "first")
    first, second = flush_outbox()
    assert "job.json is missing" in first.pending_reason
    assert second.pending_reason == ""
    assert [note.stem for note in pending_notes()] == ["first"]


# what a recipe's process may have left behind


def test_links_and_pipes_left_in_a_run_directory_are_not_followed(runs, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("a password")
    directory = make_run(runs)
    directory.output_file.unlink()
    directory.output_file.symlink_to(secret)
    directory.metrics_file.unlink()
    os.mkfifo(directory.metrics_file)
    assert record(directory.path).pending_reason == ""
    run = stored_run()
    assert not {"output.log", "metrics.jsonl"} & {file.path for file in client().list_artifacts(run.info.run_id)}
    assert "output.log is not a regular file: left out" in run.data.tags["record.notes"]


def test_telemetry_that_makes_no_sense_is_left_out_and_counted(runs):
    directory = make_run(runs)
    good = json.loads(directory.metrics_file.read_text().splitlines()[0])
    bad = [[1, 2], {"step": 1}, {**good, "step": 10**30}, {**good, "train_seconds": 1e300}]
    diverged = {**good, "step": 1, "loss": None}
    odd_name = {**good, "step": 2, "recipe": {"../../": 1.0}}
    lines = [json.dumps(fields) for fields in [good, *bad, diverged, odd_name]]
    directory.metrics_file.write_text("\n".join([*lines, "not json"]) + "\n")
    assert record(directory.path).pending_reason == ""
    run = stored_run()
    assert "5 unreadable line(s) of metrics.jsonl left out" in run.data.tags["record.notes"]
    assert "recipe/_.._" in run.data.metrics
    assert "1 value(s) were not finite" in run.data.tags["record.notes"]


def test_a_huge_log_keeps_its_head_and_tail(runs):
    directory = make_run(runs)
    directory.output_file.write_bytes(b"head\n" + b"x" * 3_000_000 + b"\ntail")
    record(directory.path)
    log = (runs / "mlflow-artifacts" / "mac" / stored_run().info.run_id / "artifacts" / "output.log").read_bytes()
    assert log.startswith(b"head")
    assert log.endswith(b"tail")
    assert len(log) < 1_100_000
    assert b"bytes left out here" in log


# servers


def test_runs_wait_in_the_outbox_while_the_server_is_killed_and_follow_in_order(
    runs, use_server, empty_store, tmp_path, capsys
):
    """Nothing is printed, since a command may have a JSON document there."""
    server = MlflowServer(tmp_path / "server", empty_store)
    use_server(server.uri)
    with server:
        recorded = record(make_run(runs, make_result("before")).path)
        assert recorded.url.startswith(f"{server.uri}/#/experiments/1/runs/")
        assert capsys.readouterr().out == ""
        assert "training.png" in {file.path for file in client().list_artifacts(stored_run().info.run_id)}
    for name in ("zebra", "apple"):
        waiting = record(make_run(runs, make_result(name)).path)
        assert "no answer from http://127.0.0.1" in waiting.pending_reason
    assert [(run.run_id, bool(run.pending_reason)) for run in flush_outbox()] == [("zebra", True), ("apple", True)]
    with server:
        assert [(run.run_id, run.pending_reason) for run in flush_outbox()] == [("zebra", ""), ("apple", "")]
        assert {run.data.tags["are.run_id"] for run in stored_runs()} == {"before", "zebra", "apple"}
        assert flush_outbox() == []


class HealthyButHung(http.server.BaseHTTPRequestHandler):
    """Says that it is well and answers nothing else."""

    released = threading.Event()

    def do_GET(self):
        if self.path != "/health":
            self.released.wait(DEADLINE_S)
            return
        self.send_response(200)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_):
        pass


def test_a_server_that_hangs_after_saying_it_is_well_costs_seconds_too(runs, use_server):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HealthyButHung) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        use_server(f"http://127.0.0.1:{server.server_port}")
        started = time.monotonic()
        for name in ("first", "second"):
            outbox._write_note(name, make_run(runs, make_result(name)).path)
        waiting = flush_outbox()
        spent_s = time.monotonic() - started
        HealthyButHung.released.set()
        server.shutdown()
    assert [run.run_id for run in waiting] == ["first", "second"]
    assert all("timed out" in run.pending_reason for run in waiting)
    assert spent_s < 15


def test_a_hung_server_costs_seconds_and_the_run_waits(runs, use_server):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_server(f"http://127.0.0.1:{silent.getsockname()[1]}")
        started = time.monotonic()
        recorded = record(make_run(runs).path)
        assert time.monotonic() - started < 10
    assert "no answer" in recorded.pending_reason
    assert [note.stem for note in pending_notes()] == ["run-1"]


def test_a_password_in_the_address_is_not_repeated_in_a_reason(runs, use_server, monkeypatch):
    use_server(f"http://agent:hunter2@127.0.0.1:{free_port()}")
    directory = make_run(runs)
    assert "no answer from http://127.0.0.1" in record(directory.path).pending_reason

    def refused(*_):
        raise RuntimeError(f"request to {settings().mlflow_uri} refused")

    monkeypatch.setattr(mlflow_store, "probe", refused)
    assert record(directory.path).pending_reason.startswith("RuntimeError: request to http://127.0.0.1")


def test_a_relative_runs_directory_is_fine(runs, monkeypatch):
    monkeypatch.chdir(runs.parent)
    monkeypatch.setenv("ARE_RUNS", runs.name)
    settings.cache_clear()
    assert record(make_run(runs).path).pending_reason == ""
    assert (runs / "mlflow-artifacts" / "mac").is_dir()
