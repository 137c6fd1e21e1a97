"""Small parts of the console that need no experiment: ports, missing packages, progress, output of recipes."""

import errno
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

from services.console import env_file, health_checks, main, packages, progress, ui
from services.console.logs import newest_attempt, print_from
from services.console.progress import TimeLeft
from services.console.summary import print_meaning, rung_reason
from services.console.unranked import meaning
from shared.contracts import RungChoice, Unranked
from shared.machine import device_lock
from shared.machine.device_lock import ForeignProcess
from shared.machine.ports import free_port_from
from shared.runs.evaluating import NAME, EvaluationProgress, read_evaluating
from shared.settings import CHECKOUT, settings
from tests.device_holding import held_elsewhere
from tests.platform_defaults import on_a_cpu
from tests.shared.tracking.finished_runs import make_evaluation, make_result, make_run


def test_a_taken_port_is_passed_over_and_one_that_was_asked_for_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port_from(port) > port
        with pytest.raises(ValueError, match=f"port {port} is taken"):
            ui.chosen_port(port)


@pytest.mark.parametrize("command", [("ui", "--port"), ("hub", "--redis-port"), ("hub", "--mlflow-port")])
def test_a_port_that_cannot_be_is_one_line(command, autoresearch):
    code, _, error = autoresearch(*command, "99999")
    assert (code, error.count("\n")) == (2, 1)
    assert command[1] in error


@pytest.mark.parametrize("group", ["lab", "defaults"])
def test_a_group_without_a_command_shows_its_help_and_no_empty_message(group, autoresearch):
    assert autoresearch(group)[::2] == (2, "")


def test_an_argument_that_is_missing_comes_with_where_it_is_explained(autoresearch):
    assert "`autoresearch lab bench --help`" in autoresearch("lab", "bench")[2]


def test_doctor_asks_for_no_hub_where_none_is_known(tmp_path, monkeypatch, workplace):
    monkeypatch.setenv("ARE_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.delenv("ARE_REDIS_URL", raising=False)
    settings.cache_clear()
    found = {finding.what: finding for finding in health_checks.run_checks()}
    assert (found["queue"].level, "clock" in found) == ("ok", False)
    assert "works alone" in found["queue"].found


def test_a_hub_in_env_takes_the_runs_and_gives_away_no_password_to_children(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("ARE_TRACKING_URI=http://hub:5000\nARE_REDIS_URL=redis://agent:pw@hub/0\n")
    monkeypatch.setenv("ARE_ENV_FILE", str(tmp_path / ".env"))
    monkeypatch.setenv("ARE_TRACKING_URI", "")
    monkeypatch.delenv("ARE_TRACKING_URI")
    monkeypatch.delenv("ARE_REDIS_URL", raising=False)
    settings.cache_clear()
    env_file.use_tracking_of_hub()
    assert settings().tracking_uri == "http://hub:5000"
    assert "pw" not in settings().redis_url
    monkeypatch.undo()
    settings.cache_clear()


def test_a_hub_that_does_not_answer_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setenv("ARE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    with pytest.raises(ValueError, match="make hub"):
        ui.pages_to_open("")
    monkeypatch.undo()
    settings.cache_clear()


def test_a_missing_package_is_one_line_with_its_extra():
    said = packages.what_is_missing(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn"))
    assert "'.[torch]'" in said
    with pytest.raises(ModuleNotFoundError):
        packages.what_is_missing(ModuleNotFoundError("No module named 'ours'", name="ours"))


WITHOUT = {
    "prepare": ("rustbpe", ["prepare", "--corpus", "stdlib"], "data"),
    "train": ("torch", ["train", "--engine", "torch", "--device", "cpu", "--dataset", "words"], "torch"),
    "calibrate": ("optuna", ["calibrate", "--dataset", "words"], "calibration"),
    "hub": ("mlflow", ["hub"], "tracking"),
    "worker": ("rq", ["worker"], "fleet"),
}


@pytest.mark.parametrize("name", WITHOUT)
def test_a_command_whose_work_another_process_does_looks_for_its_packages_first(name, autoresearch, monkeypatch):
    package, command, extra = WITHOUT[name]
    monkeypatch.setitem(sys.modules, package, None)
    code, _, error = autoresearch(*command)
    assert (code, error.count("\n")) == (2, 1)
    assert f"the package {package} is not installed" in error
    assert f"'.[{extra}]'" in error


def test_a_check_that_lacks_a_package_says_which_extra_brings_it():
    def lacking():
        raise ModuleNotFoundError("No module named 'redis'", name="redis")

    assert "'.[fleet]'" in health_checks.guarded(lacking).found


def test_a_folder_that_is_closed_and_a_disk_that_is_full_come_with_what_to_set():
    assert "ARE_RUNS" in main.advice_for(OSError(errno.EROFS, "Read-only file system"))
    assert "runs prune" in main.advice_for(OSError(errno.ENOSPC, "No space left"))
    assert main.advice_for(OSError(errno.EIO, "Input/output error")) == ""


def test_the_time_that_is_left_follows_from_how_fast_the_share_grew(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    left = TimeLeft()
    assert left.estimate(0.1) == "10%"
    now[0] += 10
    assert left.estimate(0.3) == "30%  about 35 s left"


def test_how_far_an_evaluation_is_can_be_read_and_damage_is_no_answer(tmp_path):
    assert read_evaluating(tmp_path) is None
    (tmp_path / NAME).write_text(EvaluationProgress(num_passes=5, expected=4).model_dump_json())
    assert read_evaluating(tmp_path).share == 1.0
    (tmp_path / NAME).write_text("{")
    assert read_evaluating(tmp_path) is None


def test_the_summary_says_why_its_rung_can_be_trusted(capsys):
    result = make_result()
    rung = RungChoice(rung="cheap", status="measured", confidence="repeated", freshness="fresh", reason="costs 4 s")
    print_meaning(result, make_evaluation(result).model_copy(update={"rung": rung}))
    said = " ".join(capsys.readouterr().out.split())
    assert "costs 4 s; this cost is measured, from repeated timings (fresh)" in said


@pytest.mark.parametrize("status", ["requested", "fallback"])
def test_of_a_rung_that_no_timing_chose_the_summary_says_only_why(status):
    rung = RungChoice(rung="smoke", status=status, confidence="none", freshness="none", reason="smoke was asked for")
    assert rung_reason(rung) == "smoke was asked for"


def test_to_run_it_again_is_advised_only_where_that_can_help():
    def said(*reasons):
        return meaning(make_result().model_copy(update={"ranked": False, "unranked": reasons}))

    assert "Run it again when the machine is idle" in said(Unranked.BUSY_MACHINE)
    assert "again" not in said(Unranked.DEMO_CORPUS, Unranked.BUSY_MACHINE)


@pytest.mark.parametrize(("charged", "told"), [(0.0123, True), (0.0, False)])
def test_the_summary_says_how_much_of_the_number_was_charged_and_not_measured(capsys, charged, told):
    result = make_result()
    print_meaning(result, make_evaluation(result).model_copy(update={"source_bpb": charged}))
    assert ("0.0123 of it were not measured" in capsys.readouterr().out) == told


def test_output_of_a_recipe_is_shown_without_what_steers_a_terminal(tmp_path, capsys):
    file = tmp_path / "output.log"
    file.write_bytes(b"loss 3\n\x1b[2Jgone\x07\n")
    position = print_from(file, 0)
    assert capsys.readouterr().out == "loss 3\n[2Jgone\n"
    with open(file, "ab") as more:
        more.write(b"new\n")
    print_from(file, position)
    assert capsys.readouterr().out == "new\n"


def test_logs_of_a_job_are_of_its_newest_attempt(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_RUNS", str(tmp_path))
    settings.cache_clear()
    for number in (2, 10, 9):
        make_run(tmp_path, make_result(f"job-a{number}"))
    assert newest_attempt("job").name == "job-a10"
    assert newest_attempt("job-a2").name == "job-a2"
    with pytest.raises(ValueError, match="`autoresearch status gone` names the host"):
        newest_attempt("gone")
    with pytest.raises(ValueError, match="no name of a run"):
        newest_attempt("../job-a2")
    monkeypatch.undo()
    settings.cache_clear()


def test_doctor_proposes_nothing_against_an_experiment_that_holds_the_device(monkeypatch, workplace):
    on_a_cpu(monkeypatch)
    monkeypatch.setattr(device_lock, "foreign_processes", lambda device: [ForeignProcess(7, "trainer")])
    with held_elsewhere("cpu"):
        found = health_checks.device()
    assert (found.level, found.advice) == ("ok", "")
    assert "another command of this project" in found.found
    assert "ask its owner" in health_checks.device().advice


def test_the_version_names_the_commit_that_runs(autoresearch):
    code, out, _ = autoresearch("--version")
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=CHECKOUT, capture_output=True, text=True).stdout
    assert code == 0
    assert out.startswith(f"autoresearch {version('autoresearch-everywhere')} (commit {head.strip()}")


def test_resuming_what_is_no_run_says_what_to_give(tmp_path, autoresearch):
    code, _, error = autoresearch("train", "--resume", str(tmp_path / "nothing"))
    assert (code, error.count("\n")) == (2, 1)
    assert "is no run's folder" in error
