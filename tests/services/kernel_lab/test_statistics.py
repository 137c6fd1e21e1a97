"""Few noisy numbers: the verdicts follow chance no more often than they say."""

import numpy as np
import pytest

from services.kernel_lab.comparison import HARM_BPB, Comparison, together
from services.kernel_lab.statistics import median, paired

NO_HARM = object()
"""val_bpb that differs by little"""


def compared(logs, scores=NO_HARM):
    if scores is NO_HARM:
        scores = noisy(0.0, 1e-4, len(logs), seed=0)
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


FASTER = [0.262, 0.263, 0.262, 0.264, 0.262, 0.263, 0.261, 0.262]


@pytest.mark.parametrize(
    "scores",
    [[0.30, 0.36], [0.30, 0.40, 0.24], [-0.02, 0.01, 0.05, -0.01, 0.03], [0.0095, 0.0105, 0.009, 0.011, 0.0102], None],
    ids=["two pairs that are much worse", "three", "spread wider than the margin", "at the margin", "no number"],
)
def test_who_is_faster_is_not_validated_while_harm_to_val_bpb_is_not_excluded(scores):
    assert compared(FASTER[: len(scores or FASTER)], scores).verdict != "validated"


def test_a_faster_kernel_that_learns_as_well_within_the_margin_is_validated():
    found = compared(FASTER[:5], [0.001, -0.002, 0.002, 0.0, -0.001])
    assert found.verdict == "validated"
    assert 0 < found.harm_bpb < HARM_BPB


def test_fewer_than_five_pairs_are_never_validated():
    found = compared(FASTER[:4], [0.0, 0.0001, 0.0, -0.0001])
    assert found.verdict == "mixed"
    assert "4 pairs are too few" in found.line


def test_a_kernel_that_loses_the_margin_is_validated_in_one_of_a_hundred_comparisons():
    verdicts = [compared(FASTER[:5], noisy(HARM_BPB, 0.005, 5, seed)).verdict for seed in range(800)]
    assert 0 < verdicts.count("validated") <= 16


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
