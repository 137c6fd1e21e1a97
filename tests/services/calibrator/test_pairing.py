"""Pairing by seed: which second shape runs, and what the correlation of equal seeds is said to be worth."""

import numpy as np
import pytest

from services.calibrator.measurement import Probe
from services.calibrator.noise import concluded as noise_of
from services.calibrator.pairing import concluded, measure_pairing
from shared.experiment.platform_default import Tuning
from tests.services.calibrator.test_confirm import (
    PRIOR,
    SMALL,
    TINY,
    Bench,
    chosen,
    found,
    outcome,
    ranked,
    searched,
)


def runs(preset, shape, values):
    probes = [Probe(preset=preset, shape=shape, seconds=30, seed=1001 + place) for place in range(len(values))]
    return [outcome(probe, float(value)) for probe, value in zip(probes, values, strict=True)]


def paired(rho: float, count: int):
    """Of two shapes whose luck has that correlation."""
    ours, theirs = np.random.default_rng(4).multivariate_normal([0, 0], [[1, rho], [rho, 1]], count).T
    return concluded(runs("m5-tiny", TINY, 1.5 + 0.01 * ours), runs("m5-small", SMALL, 1.4 + 0.01 * theirs))


def test_luck_in_common_is_found_with_an_interval_and_said_to_help():
    pairing = paired(0.95, 8).pairing
    assert pairing.low < pairing.rho < pairing.high < 1
    assert pairing.low < 0.95 < pairing.high
    assert pairing.helps
    assert "pairing by seed helps here" in pairing.verdict
    assert (pairing.num_pairs, pairing.other) == (8, SMALL)
    assert len(pairing.run_ids) == 8


def test_independent_luck_is_not_said_to_help():
    found_ = paired(0.0, 8)
    assert found_.pairing.helps is None
    assert "whether pairing by seed helps here is not known" in found_.reason


def test_luck_that_goes_the_other_way_does_not_help():
    assert paired(-0.97, 8).pairing.helps is False


def test_the_interval_is_that_of_fishers_z():
    pairing = paired(0.6, 8).pairing
    z, half = np.arctanh(pairing.rho), 1.959964 / np.sqrt(8 - 3)
    assert (pairing.low, pairing.high) == pytest.approx((np.tanh(z - half), np.tanh(z + half)), abs=1e-6)


def test_few_pairs_and_equal_scores_have_no_correlation():
    assert paired(0.9, 3).pairing is None
    same = concluded(runs("m5-tiny", TINY, [1.5] * 5), runs("m5-small", SMALL, [1.4, 1.5, 1.6, 1.7, 1.8]))
    assert (same.pairing, same.reason) == (None, "the scores of a shape do not differ at all")


def test_failed_runs_take_their_pair_with_them():
    ours, theirs = runs("m5-tiny", TINY, [1.5, 1.6, 1.4, 1.7, 1.45]), runs("m5-small", SMALL, [1.4, 1.5, 1.3, 1.6, 1.3])
    failed = theirs[1].model_copy(update={"status": "crashed", "val_bpb": None})
    assert concluded(ours, [theirs[0], failed, *theirs[2:]]).pairing.num_pairs == 4


def measured(bench, allowance_s=1000.0, num_seeds=8):
    ours = runs("m5-tiny", TINY, np.random.default_rng(1).normal(1.5, 0.01, num_seeds))
    wider = ranked("m5-tiny", 1.5, TINY.model_copy(update={"device_batch_size": 8}))
    result = found(ranked("m5-tiny", 1.5), wider, ranked("m5-small", 1.51))
    known = [searched("m5-small", 10)]
    return measure_pairing(bench, chosen(), result, PRIOR, Tuning(), noise_of(ours, num_seeds), known, allowance_s)


def noisy_by_seed(probe):
    return outcome(probe, float(np.random.default_rng(probe.seed).normal(1.5, 0.01)))


def test_the_runner_up_runs_with_the_seeds_and_the_budget_of_the_noise_phase():
    bench = Bench(mode="full", minutes=60, answer=noisy_by_seed)
    pairing = measured(bench).pairing
    assert [probe.seed for probe in bench.probes] == list(range(1001, 1009))
    assert {(probe.shape, probe.seconds) for probe in bench.probes} == {(SMALL, 30)}
    assert pairing.num_pairs == 8


def test_as_many_pairs_are_run_as_can_be_paid_and_too_few_not_at_all():
    bench = Bench(mode="full", minutes=60, answer=noisy_by_seed)
    assert measured(bench, allowance_s=210).pairing.num_pairs == 5
    none = Bench(mode="full", minutes=60)
    assert measured(none, allowance_s=120).reason == "4 pairs take about 160 s, not 120"
    assert none.probes == []


def test_mode_fast_measures_no_pairs():
    bench = Bench(mode="fast")
    assert measured(bench).pairing is None
    assert bench.probes == []
