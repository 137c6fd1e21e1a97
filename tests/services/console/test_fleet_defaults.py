"""Whose default tells a fleet's noise: this machine's own, unless nothing was measured and the queue has a better."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from services.console import hub_connection
from services.console.research import Fleet
from shared.experiment.platform_default import write_default
from shared.fleet import platform_defaults
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
    settings.cache_clear()
    monkeypatch.setattr(hub_connection, "hub", lambda: nullcontext())
    monkeypatch.setattr(platform_defaults, "published", lambda *_: fleets)
    if own:
        write_default(own)
    try:
        key = SimpleNamespace(hardware_key=ELSEWHERE.hardware_key, engine="torch")
        assert Fleet().default(key).calibration == taken
    finally:
        settings.cache_clear()
