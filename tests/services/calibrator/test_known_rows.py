"""What a calibration knows before it begins, and that rows which cannot be read are said."""

import json

import pytest

from services.calibrator.known_rows import known_rows, said
from shared.calibration.folder import fleet_rows_file
from shared.calibration.promotion import promoted_rows_file
from shared.quality import QualityRow, published_rows
from shared.settings import settings


@pytest.fixture
def home(prepared_home, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    for name in ("datasets", "validation"):
        (tmp_path / "home" / name).symlink_to(prepared_home / name)
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARE_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    settings.cache_clear()
    yield
    settings.cache_clear()


def row(source: str) -> QualityRow:
    return published_rows()[0].model_copy(update={"source": source})


def with_damage(path, *sources: str) -> None:
    """A snapshot of which every second row is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    good = [row(source).model_dump(mode="json") for source in sources]
    path.write_text(json.dumps([each for one in good for each in (one, one | {"val_bpb": -1.0})]))


def test_damaged_rows_of_the_fleet_and_of_bundles_are_left_out_and_named(reported, home):
    with_damage(fleet_rows_file(), "a run of the fleet")
    with_damage(promoted_rows_file(), "a promoted run")
    known = known_rows(reported.work.calibration)
    assert {row.source for row in known.rows} >= {"a run of the fleet", "a promoted run"}
    assert len(known.rows) == len(published_rows()) + 2
    first, second = known.notes
    assert first.startswith("quality-rows.json: row 2 left out, val_bpb")
    assert second.startswith("fleet-rows.json: row 2 left out, val_bpb")


@pytest.mark.parametrize("content", ["{", "{}"])
def test_a_snapshot_that_cannot_be_read_costs_the_calibration_no_more_than_its_rows(content, reported, home):
    fleet_rows_file().write_text(content)
    known = known_rows(reported.work.calibration)
    assert known.rows == published_rows()
    (note,) = known.notes
    assert note.startswith("calibrating without the fleet's runs: fleet-rows.json")


def test_many_damaged_rows_are_a_few_lines_and_a_number():
    assert said([]) == ()
    assert said(["one\nline"]) == ("one line",)
    assert said([f"row {place}" for place in range(100)]) == ("row 0", "row 1", "row 2", "97 more rows left out")
