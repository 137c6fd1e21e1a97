"""Which noise floor may be used for which runs: one that is at least as large as theirs, or none."""

import pytest

from shared.contracts import DatasetRef, Rung
from shared.experiment.platform_default import NoiseFloor
from shared.research.idea import propose
from shared.research.judge import noise_at
from shared.research.noise import is_too_large, measured, why_not
from shared.runs.shipped import default_recipe
from tests.platform_defaults import calibrated
from tests.shared.research import makers
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
    default = DEFAULT.model_copy(update={"noise": FLOOR.model_copy(update={"budget_seconds": KEY.budget_seconds / 2})})
    noise = measured(default, KEY, SHAPE, [[2.0, 2.001, 2.002], [1.9]])
    assert (noise.num_seeds, noise.is_of_shorter) == (5, False)
    assert noise.sigma == pytest.approx(((2 * 0.002**2 + 2 * 0.001**2) / 4) ** 0.5)


def test_a_floor_of_much_shorter_runs_is_used_until_the_start_has_runs_enough():
    shorter = FLOOR.model_copy(update={"budget_seconds": 0.3 * KEY.budget_seconds, "sigma": 0.03})
    default = DEFAULT.model_copy(update={"noise": shorter})
    first, two, three = (measured(default, KEY, SHAPE, [[2.0, 2.001, 2.002][:count]]) for count in (1, 2, 3))
    assert (first.sigma, first.num_seeds, first.is_of_shorter) == (pytest.approx(0.03), 3, True)
    assert (two.num_seeds, two.is_of_shorter) == (4, True)
    assert (three.sigma, three.num_seeds, three.is_of_shorter) == (pytest.approx(0.001), 3, False)


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


RUNS = [2.0, 2.004, 1.996, 2.003, 1.997, 2.005, 1.995, 2.0]


@pytest.mark.parametrize(("sigma", "too_large"), [(0.004, False), (0.008, False), (0.05, True)])
def test_a_floor_is_doubted_where_the_shipped_recipes_runs_differ_far_less(sigma, too_large):
    assert is_too_large(sigma, 8, [RUNS]) is too_large
    assert is_too_large(sigma, 16, [RUNS[:4], RUNS[4:], [1.9]]) is too_large


def test_two_runs_say_nothing_of_a_floor_that_is_too_large():
    assert not is_too_large(1.0, 8, [[2.0, 2.0]])
    assert not is_too_large(1.0, 8, [])


def test_a_floor_that_is_far_too_large_is_left_out_and_the_starts_runs_measure_the_noise():
    start = propose(default_recipe("torch").read_bytes())
    known = makers.known((start, [makers.result(start, place, value) for place, value in enumerate(RUNS)]))
    pool = known.pool(start, KEY)
    forged, honest = (
        DEFAULT.model_copy(
            update={"noise": FLOOR.model_copy(update={"sigma": sigma, "num_seeds": 8, "budget_seconds": 200})}
        )
        for sigma in (0.5, 0.004)
    )
    assert noise_at(known, KEY, forged, pool) == noise_at(known, KEY, None, pool)
    assert noise_at(known, KEY, honest, pool).num_seeds == 15
