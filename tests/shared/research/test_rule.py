"""The rule of docs/research-loop.md: when it keeps, drops, asks, and how often it is wrong."""

import random

import pytest

from benchmarks.decide import World, our_rule, rates, three_against_three
from shared.research.noise import Noise
from shared.research.rule import MOST_RUNS, Verdict, bound, decide, resolvable

SIGMA = Noise(0.001, 8, "test")
POOL = [2.0, 2.0, 2.0, 2.0]  # against it, one run has a standard error of 1.118 sigma


def after(*z: float) -> list[float]:
    """Runs that lie so many standard errors of a single one below the pool."""
    return [2.0 - 0.001 * 1.25**0.5 * value for value in z]


def test_one_run_far_below_the_pool_needs_a_fresh_one():
    found = decide(after(3.0), POOL, SIGMA)
    assert (found.verdict, found.idea_needs) == (Verdict.UNDECIDED, 1)
    assert "fresh" in found.reason


def test_the_fresh_run_alone_is_published():
    runs = after(3.0, 1.0)
    found = decide(runs, POOL, SIGMA)
    assert found.verdict is Verdict.KEEP
    assert found.published == runs[1]


def test_a_fresh_run_that_is_not_below_the_pool_contradicts():
    assert decide(after(5.0, -0.01), POOL, SIGMA).verdict is Verdict.DISCARD


def test_one_run_less_than_a_standard_error_below_is_dropped_at_once():
    found = decide(after(0.9), POOL, SIGMA)
    assert (found.verdict, found.num_runs) == (Verdict.DISCARD, 1)


def test_between_the_bounds_it_asks_for_one_more_up_to_four():
    for count in range(1, MOST_RUNS):
        found = decide([2.0 - 0.0012] * count, POOL, SIGMA)
        assert (found.verdict, found.idea_needs) == (Verdict.UNDECIDED, 1), count


def test_after_four_runs_a_weaker_bound_decides():
    z_of_four = lambda z: [2.0 - z * 0.001 * 0.5**0.5] * 4  # noqa: E731
    assert decide(z_of_four(1.7), POOL, SIGMA).verdict is Verdict.UNDECIDED  # kept, but for the fresh run
    assert decide(z_of_four(1.6), POOL, SIGMA).verdict is Verdict.DISCARD


def test_a_small_pool_is_filled_before_the_idea_runs_again():
    found = decide([2.0 - 0.0021], [2.0], SIGMA)
    assert (found.parent_needs, found.idea_needs) == (1, 0)


def test_where_the_parents_runs_measure_the_noise_it_runs_eight_times_before_a_gain_is_judged():
    growing = Noise(0.001, 3, "the pool", grows=True)
    assert decide(after(3.0), POOL, growing).parent_needs == 1
    assert decide(after(3.0), POOL * 2, growing).idea_needs == 1
    assert decide(after(-3.0), POOL, growing).verdict is Verdict.DISCARD


def test_nothing_is_asked_for_when_the_verdict_is_clear():
    found = decide(after(-1.0), [2.0], SIGMA)
    assert (found.verdict, found.parent_needs, found.idea_needs) == (Verdict.DISCARD, 0, 0)


def test_runs_beyond_the_end_of_the_rule_change_nothing():
    """Somebody who goes on until it looks good is not heard."""
    assert decide(after(0.5, 9.0, 9.0, 9.0, 9.0), POOL, SIGMA) == decide(after(0.5), POOL, SIGMA)


@pytest.mark.parametrize(("seeds", "keep"), [(3, 4.53), (5, 2.87), (8, 2.0), (40, 2.0)])
def test_few_seeds_behind_sigma_raise_the_bound(seeds, keep):
    assert bound(Noise(0.001, seeds, ""), 2.0) == pytest.approx(keep, abs=0.01)


def test_without_noise_only_what_is_no_better_is_decided():
    assert decide([2.1], [2.0], None).verdict is Verdict.DISCARD
    found = decide([1.0], [2.0], None)
    assert (found.verdict, found.parent_needs) == (Verdict.UNDECIDED, 2)
    assert decide([1.0], [2.0, 2.0, 2.0], Noise(0.0, 8, "exactly equal")).verdict is Verdict.UNDECIDED


def test_an_effect_below_what_the_machine_resolves_is_said():
    found = decide([1.9999], POOL, SIGMA)
    assert found.resolvable == pytest.approx(1.645 * 0.001 * 0.5**0.5)
    assert "resolve" in found.reason
    assert resolvable(SIGMA, 1, 4) > resolvable(SIGMA, 4, 4)


def test_what_four_runs_resolve_is_said_for_the_runs_that_the_parent_has_by_then():
    for early in ([2.0], [2.0, 2.001, 2.002]):
        assert decide([1.9995], early, SIGMA).resolvable == pytest.approx(1.645 * 0.001 * (1 / 4 + 1 / 3) ** 0.5)


def test_runs_that_do_not_vary_with_the_seed_are_no_keep():
    """A recipe that fixes a lucky seed of its own."""
    found = decide([1.9, 1.9], POOL, SIGMA)
    assert found.verdict is Verdict.DISCARD
    assert "seed" in found.reason


@pytest.mark.parametrize("sigma", [0.0007, 0.002, 0.01, 0.03])
@pytest.mark.parametrize("seeds", [8, 3])
def test_a_neutral_idea_is_kept_in_less_than_one_case_of_twenty(sigma, seeds):
    found = rates(our_rule(seeds), World(), sigma, nights=20, seed=random.Random(7).randrange(1000))
    assert found.false_per_null < 0.05


def test_a_night_on_a_quiet_machine_gains_more_than_with_three_against_three():
    ours, fixed = (rates(gate, World(), 0.0007, nights=20, seed=3) for gate in (our_rule(8), three_against_three))
    assert ours.gain > 2 * fixed.gain
