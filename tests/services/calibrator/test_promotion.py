"""The promotion bundle of a calibration, and how later calibrations read what was promoted."""

import json
import shutil

import pytest

from services.calibrator.known_rows import known_rows
from shared.calibration.promotion import add_rows, promoted_rows, promoted_rows_file, read_bundle
from shared.contracts import Rung
from shared.settings import settings


@pytest.fixture
def home(prepared_home, tmp_path, monkeypatch):
    """A copy of the prepared home that may be changed, and an empty folder for runs."""
    monkeypatch.setenv("ARE_HOME", str(shutil.copytree(prepared_home, tmp_path / "home")))
    monkeypatch.setenv("ARE_RUNS", str(tmp_path / "runs"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


def test_a_bundle_is_read_back_as_it_was_written(reported):
    bundle = read_bundle(reported.folder / "promotion")
    assert (bundle.default, bundle.notes) == (reported.default, ())
    good = {one.run_id for one in reported.found.outcomes() if one.is_ok and one.probe.rung is not Rung.SMOKE}
    assert {row.source for row in bundle.rows} == good
    assert all(row.dataset == reported.default.dataset.fingerprint for row in bundle.rows)


def test_a_bundle_says_how_to_share_it_and_what_rungs_cost(reported):
    folder = reported.folder / "promotion"
    readme = (folder / "README.md").read_text()
    assert "autoresearch defaults promote promotion" in readme
    assert reported.default.hardware_key in readme
    rungs = json.loads((folder / "rung_calibration.json").read_bytes())
    assert [cost["rung"] for cost in rungs["costs"]] == ["cheap", "reference"]


def test_later_calibrations_read_promoted_rows_but_not_their_own(reported, home):
    rows = read_bundle(reported.folder / "promotion").rows
    own, foreign = rows[0], rows[1].model_copy(update={"source": "cal-of-another-machine"})
    add_rows([own, foreign])
    sources = [row.source for row in known_rows(reported.work.calibration).rows]
    assert "cal-of-another-machine" in sources
    assert own.source not in sources


def test_rows_are_kept_once_and_the_latest_counts(reported, home):
    first, second, *_ = read_bundle(reported.folder / "promotion").rows
    better = first.model_copy(update={"val_bpb": 1.0})
    assert (add_rows([first]), add_rows([better, second]), add_rows([])) == (1, 1, 0)
    assert {row.source: row.val_bpb for row in promoted_rows()} == {first.source: 1.0, second.source: second.val_bpb}


def test_a_damaged_file_of_promoted_rows_is_named_with_what_to_do(reported, home):
    promoted_rows_file().parent.mkdir(parents=True, exist_ok=True)
    promoted_rows_file().write_text("[{")
    with pytest.raises(ValueError, match=r"quality-rows.json is damaged: delete it and promote"):
        known_rows(reported.work.calibration)
