"""Which noise floor may be used for which runs: one that is at least as large as theirs, or none."""

import pytest

from shared.contracts import DatasetRef, Rung
from shared.experiment.platform_default import NoiseFloor
from shared.research.noise import measured, why_not
from tests.platform_defaults import calibrated
from tests.shared.research.makers import KEY, SHAPE

FLOOR = NoiseFloor(
    sigma=0.002, low=0.001, high=0.006, num_seeds=3, budget_seconds=60, rung=Rung.CHEAP, weak=True, run_ids=()
)
DEFAULT = calibrated(
    noise=FLOOR, shape=SHAPE, dataset=DatasetRef(name="words", fingerprint=KEY.dataset), eval_signature="e"
)


def test_a_floor_of_shorter_runs_on_a_cheaper_rung_is_on_the_safe_side():
    noise = measured(DEFAULT, KEY, SHAPE, [])
    assert (noise.sigma, noise.num_seeds) == (pytest.approx(0.002), 3)


def test_it_is_pooled_with_the_runs_of_the_start():
    noise = measured(DEFAULT, KEY, SHAPE, [[2.0, 2.001, 2.002], [1.9]])
    assert noise.num_seeds == 5
    assert noise.sigma == pytest.approx(((2 * 0.002**2 + 2 * 0.001**2) / 4) ** 0.5)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"noise": None}, "measured no noise"),
        ({"noise": FLOOR.model_copy(update={"budget_seconds": 600})}, "shorter"),
        ({"noise": FLOOR.model_copy(update={"rung": Rung.FULL})}, "cheaper"),
        ({"shape": SHAPE.model_copy(update={"depth": 6})}, "another shape"),
        ({"dataset": DatasetRef(name="words", fingerprint="e" * 64)}, "another dataset"),
        ({"eval_signature": "older"}, "another dataset or evaluation"),
    ],
)
def test_a_floor_that_may_be_too_small_is_not_used(changes, word):
    default = DEFAULT.model_copy(update=changes)
    assert measured(default, KEY, SHAPE, []) is None
    assert word in why_not(default, KEY, SHAPE)


def test_a_machine_that_was_not_calibrated_has_no_noise_floor_and_two_runs_are_not_enough():
    assert measured(None, KEY, SHAPE, [[2.0, 2.1]]) is None
