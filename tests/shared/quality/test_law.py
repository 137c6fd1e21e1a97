"""The form of the quality table's law."""

import numpy as np

from shared.quality.law import PRIOR_MEAN, PRIOR_SD, Points, law, points_of, slopes
from tests.fake_engine import SHAPE


def drawn(random: np.random.Generator, num_points: int) -> Points:
    """Models from a tenth of a million to a billion weights, after ten thousand to a billion tokens."""
    uniform = random.uniform
    return Points(
        log_params=uniform(-4.6, 4.6, num_points), log_aspect=uniform(3, 5, num_points),
        log_seq=np.log(random.choice([256, 1024, 4096], num_points)), half_windows=uniform(0, 1, num_points),
        log_batch=uniform(8, 13, num_points), log_tokens=uniform(9.2, 20.7, num_points),
    )  # fmt: skip


def test_its_slopes_are_what_it_changes_by():
    random = np.random.default_rng(1)
    points = drawn(random, 40)
    for _ in range(5):
        parameters = PRIOR_MEAN + random.normal(size=len(PRIOR_SD)) * PRIOR_SD
        moves = 1e-5 * np.eye(len(PRIOR_SD))
        changes = [(law(parameters + move, points) - law(parameters - move, points)) / 2e-5 for move in moves]
        np.testing.assert_allclose(slopes(parameters, points), np.stack(changes, axis=-1), rtol=1e-5, atol=1e-8)


def test_parameters_that_a_fit_tries_come_to_numbers_however_far_off_they_are():
    points = drawn(np.random.default_rng(2), 40)
    floor_below_zero = PRIOR_MEAN - 20 * PRIOR_SD * (np.arange(len(PRIOR_SD)) == 0)
    assert (law(floor_below_zero, points) > 0).all()
    assert np.isfinite(slopes(floor_below_zero, points)).all()


def test_no_tokens_count_as_one():
    none, one = points_of([(SHAPE, 0), (SHAPE, 1)], vocab_size=512).log_tokens
    assert none == one == 0.0


def test_nothing_asked_is_no_points():
    assert len(points_of([], vocab_size=512)) == 0
