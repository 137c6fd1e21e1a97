"""Whose default tells a fleet's noise: this machine's own, unless nothing was measured and MLflow has a better."""

from types import SimpleNamespace

import pytest

from services.console import research
from services.console.research import Fleet
from shared.experiment.platform_default import write_default
from shared.settings import settings
from tests.platform_defaults import calibrated, unmeasured

ELSEWHERE = calibrated(calibration="of the fleet")


@pytest.mark.parametrize(
    ("own", "fleets", "taken"),
    [
        (calibrated(), ELSEWHERE, "c1"),
        (unmeasured(), ELSEWHERE, "of the fleet"),
        (unmeasured(), None, "c1"),
        (None, ELSEWHERE, "of the fleet"),
    ],
)
def test_an_own_default_counts_before_the_fleets_if_it_was_measured(own, fleets, taken, tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path))
    monkeypatch.setenv("ARE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    monkeypatch.setattr(research, "_from_mlflow", lambda *_: fleets)
    if own:
        write_default(own)
    try:
        key = SimpleNamespace(hardware_key=ELSEWHERE.hardware_key, engine="torch")
        assert Fleet().default(key).calibration == taken
    finally:
        settings.cache_clear()
