"""`autoresearch calibrate`: what is wrong is one line, what there is already is shown, and its events become a view."""

import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from services.console import calibration_view
from services.console.calibration_view import View, picture, plain_lines, summary_rows
from shared.calibration.events import PlannedPhase, append_event, events_file, read_default_of, read_events
from shared.calibration.job import CalibrationRequest, build_calibration
from shared.experiment.platform_default import NoiseFloor, Pairing, write_default
from tests.device_holding import held_elsewhere
from tests.platform_defaults import calibrated, unmeasured

BAD = {
    "preset": (["--presets", "m9"], "unknown preset 'm9': choose one of m5-tiny"),
    "mode": (["--mode", "slow"], "mode: Input should be 'fast' or 'full'"),
    "too short": (["--budget", "0.5"], "one probe of each of 5 presets takes at least 1.0 minutes"),
    "no time": (["--budget", "0"], "budget: Input should be greater than 0"),
    "dataset": (["--dataset", "nothing"], "nothing"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_line(autoresearch, workplace, arguments, said):
    code, out, error = autoresearch("calibrate", *arguments)
    assert (code, out) == (2, "")
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_device_in_use_is_named_with_its_holder(autoresearch, workplace, tmp_path):
    with held_elsewhere("cpu"):
        code, _, error = autoresearch("calibrate", "--presets", "m5-tiny", "--output-dir", tmp_path / "out")
    assert code == 2
    assert "cpu is in use by process" in error.splitlines()[-1]


def test_a_folder_with_something_else_in_it_is_refused(autoresearch, workplace, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    code, _, error = autoresearch("calibrate", "--output-dir", tmp_path / "out")
    assert code == 2
    assert "is not empty and holds no calibration: choose another --output-dir" in error


def test_a_machine_that_was_calibrated_is_left_alone_when_asked(autoresearch, workplace):
    path = write_default(calibrated())
    try:
        code, out, error = autoresearch("calibrate", "--unless-calibrated", "--json")
    finally:
        path.unlink()
    assert code == 0
    assert json.loads(out)["default"]["family"] == "m5-tiny"
    assert "this machine was calibrated on" in error


def test_a_machine_of_which_nothing_was_measured_is_not_left_alone(workplace, capsys):
    path = write_default(unmeasured())
    try:
        calibration = build_calibration(CalibrationRequest(engine="torch", device="cpu"))
        assert not calibration_view.show_existing(calibration, as_json=False)
    finally:
        path.unlink()
    assert "no probe came to a number: it is calibrated again" in capsys.readouterr().err


@pytest.mark.parametrize("before", [None, calibrated()], ids=["nothing before", "measured before"])
def test_the_end_of_a_calibration_in_which_nothing_was_measured_says_so_and_what_train_uses(
    before, workplace, tmp_path, capsys
):
    append_event(tmp_path, kind="finished", spent_s=500.0, default=unmeasured())
    path = write_default(before or read_default_of(tmp_path))
    try:
        assert calibration_view.conclude(tmp_path, as_json=False) == 0
        out, error = capsys.readouterr()
        calibration_view.conclude(tmp_path, as_json=True)
        document = json.loads(capsys.readouterr().out)
    finally:
        path.unlink()
    assert "confidence:   none: no probe came to a number" in out
    assert "next:         find out what is wrong" in out
    assert ("and says that nothing was measured" in error) == (before is None)
    assert ("confidence medium, was measured on this machine" in error) == (before is not None)
    assert document["is_in_use"] == (before is None)


@pytest.fixture
def told(tmp_path):
    plan = (
        PlannedPhase(name="tune", says="what is fastest", minutes=2),
        PlannedPhase(name="search", says="s", minutes=8),
    )
    append_event(tmp_path, kind="plan", spent_s=0, plan=plan)
    append_event(tmp_path, kind="phase", spent_s=1, phase="tune", says="what is fastest")
    append_event(tmp_path, kind="probe", spent_s=60, phase="tune", says="m5-tiny: 15,000 tok/s", status="ok", best="x")
    append_event(tmp_path, kind="begun", spent_s=60, phase="tune", says="m5-small, 5 s")
    return tmp_path


def drawn(view: View) -> str:
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(picture(view))
    return console.export_text()


def test_a_terminal_shows_phases_probes_what_runs_the_best_and_the_time_left(told):
    view = View(told)
    view.read_to = 0
    view.look()
    text = drawn(view)
    assert "9 min left" in text
    assert "> " in text
    assert "m5-tiny: 15,000 tok/s" in text
    assert "running      m5-small, 5 s" in text
    assert "best so far  x" in text


def test_before_the_plan_is_known_a_terminal_shows_that_it_starts_and_no_minutes(tmp_path):
    assert drawn(View(tmp_path)).split() == ["starting"]


def test_time_goes_on_between_events(told):
    view = View(told)
    view.read_to = 0
    view.look()
    view.events[-1] = view.events[-1].model_copy(update={"at": datetime.now(UTC) - timedelta(seconds=30)})
    assert view.spent_s == pytest.approx(90, abs=2)


def test_a_pipe_gets_a_line_for_each_thing_that_ended(told):
    lines = [line for event in read_events(told)[0] for line in plain_lines(event)]
    assert lines[0] == "plan         10.0 minutes in all"
    assert lines[-2:] == ["tune: what is fastest", "  m5-tiny: 15,000 tok/s   (best so far: x)"]


def test_a_view_shows_only_what_was_told_since_it_was_opened(told):
    view = View(told)
    assert view.look() == []
    with open(events_file(told), "ab") as file:
        file.write(b'{"half a line')
    append_event(told, kind="note", spent_s=61, says="told after a line that was cut short")
    append_event(told, kind="note", spent_s=62, says="seen")
    assert [event.says for event in view.look()] == ["told after a line that was cut short", "seen"]


def test_a_phase_that_gets_what_the_others_leave_says_so(tmp_path):
    plan = (PlannedPhase(name="tune", says="s", minutes=2), PlannedPhase(name="extend", says="more seeds", minutes=0))
    event = append_event(tmp_path, kind="plan", spent_s=0, plan=plan)
    assert plain_lines(event)[-1].split() == ["extend", "what", "is", "left", "more", "seeds"]
    view = View(tmp_path)
    view.read_to = 0
    view.look()
    assert "what is left" in drawn(view)


def test_a_default_is_shown_with_its_evaluation_batch_and_what_pairing_by_seed_is_worth():
    pairing = Pairing(rho=0.9, low=0.6, high=0.98, num_pairs=8, other=calibrated().shape)
    floor = NoiseFloor(sigma=0.01, low=0.007, high=0.02, num_seeds=8, budget_seconds=60, rung="cheap", weak=False)
    rows = dict(summary_rows(calibrated(noise=floor.model_copy(update={"pairing": pairing}).model_dump())))
    assert rows["rung"] == "cheap, 4 rows at once"
    assert rows["noise"].endswith("a paired comparison needs 10% of the runs")
    rows = dict(summary_rows(calibrated(noise=floor.model_dump(), eval_batch_size=None)))
    assert rows["rung"] == "cheap"
    assert rows["noise"].endswith("runs each")


def test_a_default_whose_tuning_is_the_engines_own_names_no_setting():
    assert dict(summary_rows(calibrated(tuning={})))["tuning"] == "the engine's own choice"


def test_a_terminal_gets_the_last_words_too(tmp_path, monkeypatch):
    """Those that came after the last look, as the line that names the report does."""
    said = Console(force_terminal=True, record=True, width=200, file=io.StringIO())
    monkeypatch.setattr(calibration_view, "Console", lambda stderr: said)
    with calibration_view.shown(tmp_path) as watch:
        append_event(tmp_path, kind="note", spent_s=1.0, says="writing the report")
        watch("calibrator")
        append_event(tmp_path, kind="note", spent_s=2.0, says="the report is report.md")
    printed = said.export_text().splitlines()
    assert [line.strip() for line in printed][-2:] == ["writing the report", "the report is report.md"]
