"""The report's pictures are PNGs with something in them, and one that cannot be drawn costs only itself."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.calibrator.report.plots import COLORS, PLOTS, color_of, counted, draw_all
from services.calibrator.report.points import Points
from services.calibrator.report.subject import Subject
from shared.calibration.events import read_events
from tests.services.calibrator.test_report import bare, report_of

pytestmark = pytest.mark.usefixtures("workplace")


def pixels(path: Path) -> np.ndarray:
    """[height, width, 3], 0 to 255"""
    from matplotlib.image import imread

    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    return (imread(path)[..., :3] * 255).round().astype(int)


def share_of(picture: np.ndarray, color: str) -> float:
    wanted = [int(color[place : place + 2], 16) for place in (1, 3, 5)]
    return float((np.abs(picture - wanted).max(-1) < 8).mean())


@pytest.mark.parametrize("name", PLOTS)
def test_a_picture_has_content(reported, name):
    picture = pixels(reported.folder / "plots" / name)
    assert min(picture.shape[:2]) > 400
    assert 0.005 < (picture.min(-1) < 200).mean() < 0.5


def test_each_family_is_drawn_in_its_own_colour(reported):
    picture = pixels(reported.folder / "plots" / "val_bpb_by_tokens.png")
    assert all(share_of(picture, color) > 0.0005 for color in COLORS[:4])
    assert share_of(picture, COLORS[5]) == 0


def test_a_model_has_one_colour_whatever_its_preset_is_called(reported):
    points = reported.points
    assert color_of(points, "m5-large") == color_of(points, "m5-xlarge") == color_of(points, "upstream")
    assert len({color_of(points, name) for name in points.families}) == 4


def test_the_page_shows_every_picture(reported):
    assert all(f"](plots/{name})" in reported.markdown for name in PLOTS)


def test_a_calibration_of_which_little_worked_can_be_drawn(reported, tmp_path):
    subject, _ = bare(reported)
    drawn, failures = draw_all(subject, Points(subject), tmp_path / "plots")
    assert (len(drawn), failures) == (len(PLOTS), [])


def test_a_picture_that_cannot_be_drawn_is_a_note_and_is_left_out(reported, tmp_path):
    folder = shutil.copytree(reported.folder, tmp_path / "calibration")
    (folder / "plots" / "front.png").unlink()
    (folder / "plots" / "front.png").mkdir()
    report_of(replace(reported.work, folder=folder), reported.found, reported.default)
    notes = [event.says for event in read_events(folder)[0] if event.phase == "report"]
    assert any(note.startswith("front.png could not be drawn: IsADirectoryError") for note in notes)
    assert "front.png" not in (folder / "report.md").read_text()
    assert "rung_costs.png" in (folder / "report.md").read_text()


def test_without_a_place_for_pictures_there_is_a_report_without_them(reported, tmp_path):
    (tmp_path / "plots").write_text("no folder")
    subject = Subject(tmp_path, reported.work, reported.found, reported.default)
    drawn, failures = draw_all(subject, Points(subject), tmp_path / "plots")
    assert (drawn, len(failures)) == ({}, len(PLOTS))


def test_counts_are_short():
    assert [counted(value) for value in (500, 2e4, 1.5e6, 1e9)] == ["500", "20k", "1.5M", "1G"]
