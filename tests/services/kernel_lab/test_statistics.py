"""Few noisy numbers: the verdicts follow chance no more often than they say."""

import numpy as np

from services.kernel_lab.integration import Comparison, together
from services.kernel_lab.statistics import median, paired


def compared(logs, scores=None):
    return Comparison("m5-tiny", paired(logs), paired(scores) if scores is not None else None, ())


def noisy(mean, sigma, pairs, seed):
    return np.random.default_rng(seed).normal(mean, sigma, pairs)


def test_a_clear_gain_is_validated_and_its_size_told():
    found = compared(noisy(0.05, 0.005, 6, seed=1))
    assert found.verdict == "validated"
    assert found.speedup.low < np.exp(0.05) < found.speedup.high
    assert found.speed.effect_size > 3


def test_a_clear_loss_is_regressed_and_a_gain_that_learns_worse_too():
    assert compared(noisy(-0.05, 0.005, 6, seed=2)).verdict == "regressed"
    assert compared(noisy(0.05, 0.005, 6, seed=3), noisy(0.02, 0.001, 6, seed=4)).verdict == "regressed"


def test_two_pairs_that_agree_prove_nothing():
    assert compared([0.02, 0.04]).verdict == "mixed"


def test_kernels_that_change_nothing_are_validated_in_one_of_two_hundred_comparisons():
    """The test is two-sided at 1 %, so half of it falls on either side."""
    verdicts = [compared(noisy(0.0, 0.01, 5, seed)).verdict for seed in range(800)]
    assert 0 < verdicts.count("validated") <= 10
    assert 0 < verdicts.count("regressed") <= 10


def test_pairs_without_any_difference_are_no_evidence():
    assert paired([0.0, 0.0, 0.0]).p == 1.0


def test_one_preset_that_gets_slower_is_enough_to_say_no():
    assert together(["validated", "regressed"]) == "regressed"
    assert together(["validated", "mixed"]) == "mixed"
    assert together(["validated", "validated"]) == "validated"


def test_the_interval_of_a_median_holds_it_in_nineteen_of_twenty():
    hits = 0
    for seed in range(100):
        interval = median(np.random.default_rng(seed).lognormal(0, 0.3, 15))
        hits += interval.low <= 1.0 <= interval.high
    assert 88 <= hits <= 99
