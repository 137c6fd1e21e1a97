"""What a calibration knows before it begins, and that rows which cannot be read are said."""

import json

import pytest

from services.calibrator.calibrate import Session
from services.calibrator.known_rows import known_rows, said
from shared.calibration.events import read_events
from shared.calibration.folder import fleet_rows_file, lay_out
from shared.calibration.promotion import promoted_rows_file
from shared.quality import QualityRow, published_rows, write_rows
from shared.settings import settings
from tests.services.calibrator.simulated_stages import SimulatedStages
from tests.services.calibrator.test_calibrate import job_of, use


@pytest.fixture
def calibration(prepared_home, tmp_path, monkeypatch):
    """Of this machine, in a home that nobody calibrated yet."""
    use(tmp_path, prepared_home, monkeypatch)
    yield job_of().calibration
    settings.cache_clear()


def row(source: str) -> QualityRow:
    return published_rows()[0].model_copy(update={"source": source})


def with_damage(path, *sources: str) -> None:
    """A snapshot of which every second row is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    good = [row(source).model_dump(mode="json") for source in sources]
    path.write_text(json.dumps([each for one in good for each in (one, one | {"val_bpb": -1.0})]))


def test_damaged_rows_of_the_fleet_and_of_bundles_are_left_out_and_named(calibration):
    with_damage(fleet_rows_file(), "a run of the fleet")
    with_damage(promoted_rows_file(), "a promoted run")
    known = known_rows(calibration)
    assert {row.source for row in known.rows} >= {"a run of the fleet", "a promoted run"}
    assert len(known.rows) == len(published_rows()) + 2
    first, second = known.notes
    assert first.startswith("quality-rows.json: row 2 left out, val_bpb")
    assert second.startswith("fleet-rows.json: row 2 left out, val_bpb")


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_snapshot_that_cannot_be_read_costs_the_calibration_no_more_than_its_rows(content, calibration):
    fleet_rows_file().write_text(content)
    known = known_rows(calibration)
    assert known.rows == published_rows()
    (note,) = known.notes
    assert note.startswith("calibrating without the fleet's runs: fleet-rows.json")


def test_many_damaged_rows_are_a_few_lines_and_a_number():
    assert said([]) == ()
    assert said(["one\nline"]) == ("one line",)
    assert said([f"row {place}" for place in range(100)]) == ("row 0", "row 1", "row 2", "97 more rows left out")


def test_a_calibration_says_in_the_beginning_which_rows_it_could_not_read(calibration):
    with_damage(fleet_rows_file(), *(f"run {place}" for place in range(5)))
    job, stages = job_of(), SimulatedStages()
    lay_out(job.place, calibration)
    session = Session(job.place, calibration, stages, stages.clock)
    session.begin(force=False)
    notes = [event.says for event in read_events(job.place)[0] if event.kind == "note"]
    assert [note.split(" left out")[0] for note in notes[:3]] == [
        f"fleet-rows.json: row {place}" for place in (2, 4, 6)
    ]
    assert notes[3:] == ["2 more rows left out"]
    assert session.work.left_out == tuple(notes)


@pytest.mark.parametrize("val_bpb", [0.02, 0.2])
@pytest.mark.parametrize("dataset", ["climbmix", "d" * 64])
def test_a_row_of_the_fleet_that_is_far_too_good_is_left_out_and_said(calibration, dataset, val_bpb):
    good, forged = (row(source).model_copy(update={"dataset": dataset}) for source in ("good", "forged"))
    write_rows(fleet_rows_file(), [good, forged.model_copy(update={"val_bpb": val_bpb})])
    known = known_rows(calibration)
    assert [one.source for one in known.rows if one.source in ("good", "forged")] == ["good"]
    (note,) = known.notes
    assert note.startswith(f"fleet-rows.json: forged left out, val_bpb {val_bpb:.4f} where the table expects")
