"""Which machine this is: also where an earlier default, its own or another machine's, cannot be read."""

import pytest

from services.calibrator.fingerprint import fingerprint
from shared.experiment.platform_default import all_defaults, default_file, write_default
from shared.settings import settings
from tests.platform_defaults import unmeasured


@pytest.fixture
def home(reported, tmp_path, monkeypatch):
    """With no defaults in it."""
    monkeypatch.setenv("ARE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def test_a_machine_that_was_calibrated_is_known_and_starts_from_its_default(reported, home):
    write_default(reported.default)
    found = fingerprint(reported.work)
    assert (found.known, found.nearest_shape) == ("exact", reported.default.shape)
    assert found.standing.startswith(("valid", "stale"))


def test_a_damaged_default_is_calibrated_anew(reported, home):
    write_default(reported.default).write_text("{")
    found = fingerprint(reported.work)
    assert (found.standing, found.known, found.nearest_shape) == ("it was damaged", "new", None)


def test_a_default_of_which_nothing_was_measured_is_calibrated_anew_and_no_place_to_start_from(reported, home):
    write_default(unmeasured(hardware_key=reported.default.hardware_key))
    found = fingerprint(reported.work)
    assert (found.known, found.nearest_shape) == ("new", None)
    assert found.standing == (
        "unmeasured: no probe came to a number when it was calibrated today; autoresearch calibrate measures again"
    )


def test_another_machines_damaged_default_is_left_out(reported, home):
    write_default(reported.default)
    damaged = default_file("nvidia-blackwell-gb10-120gb", "torch")
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    assert all_defaults() == [reported.default]
    assert fingerprint(reported.work).known == "exact"
