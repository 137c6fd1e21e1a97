"""What the search believes: curves of finished budgets, rates, costs, and which shapes are on offer."""

import numpy as np
import pytest

from benchmarks.simulated_machines import simulated
from services.calibrator.envelope_model import Band, pass_tokens
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.probe_costs import ProbeCosts
from services.calibrator.projection import Projections, Rates, extrapolated
from services.calibrator.space import FEWEST_STEPS, Space
from shared.contracts import Rung, Shape, Status
from shared.experiment.presets import PRESETS
from shared.quality import QualityTable
from shared.quality.model_size import window_sizes

OFFERED: dict[str, Shape] = {name: preset.shape for name, preset in PRESETS.items() if name != "upstream"}
SECONDS = np.array([18.75, 37.5, 75.0, 150.0])


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(simulated("laptop", 1).envelope(OFFERED), OFFERED, vocab_size=8192, target_s=300)


def outcome(shape: Shape, seconds: float = 18.75, **changed) -> Outcome:
    fields = {
        "probe": Probe(preset="m5-small", shape=shape, seconds=seconds),
        "status": Status.OK, "val_bpb": 1.4, "num_tokens": 10**6, "num_steps": 80, "tok_per_sec": 50_000.0,
        "startup_seconds": 30, "eval_seconds": 4.0, "wall_seconds": 40 + seconds,
    }  # fmt: skip
    return Outcome(**fields | changed)


def test_a_curve_of_finished_budgets_is_continued_to_the_target():
    mean, spread = extrapolated(SECONDS, 1.0 + 0.8 * SECONDS**-0.4, 300, noise=0.001)
    true = 1.0 + 0.8 * 300**-0.4
    assert abs(mean - true) < 2 * spread
    assert spread < 0.01


def test_a_curve_is_surer_the_less_noise_and_the_longer_its_budgets():
    values = 1.0 + 0.8 * SECONDS**-0.4
    spreads = [extrapolated(SECONDS, values, 300, noise)[1] for noise in (0.001, 0.003, 0.01)]
    assert spreads == sorted(spreads)
    assert extrapolated(SECONDS[1:], values[1:], 300, 0.003)[1] < extrapolated(SECONDS[:3], values[:3], 300, 0.003)[1]


def test_two_budgets_are_no_curve(space):
    shape = next(iter(space.candidates))
    outcomes = [outcome(shape, seconds, val_bpb=2 - seconds / 300) for seconds in (18.75, 37.5, 75)]
    table = QualityTable((), "corpus")
    assert Projections(table, space.candidates, outcomes[:2], 300).curve(shape) is None
    assert Projections(table, space.candidates, outcomes, 300).curve(shape) is not None


def test_what_was_scored_on_another_rung_tells_rates_but_nothing_of_quality(space):
    shape = next(iter(space.candidates))
    scored = [
        outcome(shape, probe=Probe(preset="m5-small", shape=shape, seconds=seconds, rung=rung), val_bpb=val_bpb)
        for seconds, rung, val_bpb in ((5, Rung.SMOKE, 0.9), (18.75, Rung.PROBE, 1.4))
    ]
    projections = Projections(QualityTable((), "corpus", rung=Rung.PROBE), space.candidates, scored, 300)
    assert [row.val_bpb for row in projections.table.rows] == [1.4]
    assert projections.curve(shape) is None
    assert projections.rates.of(space.candidates[shape]) == 50_000


def test_runs_of_a_few_steps_tell_rates_but_nothing_of_quality(space):
    shape = next(iter(space.candidates))
    projections = Projections(QualityTable((), "corpus"), space.candidates, [outcome(shape, num_steps=2)], 300)
    assert projections.table.rows == ()
    assert projections.rates.of(space.candidates[shape]) == 50_000


def test_a_family_that_is_slower_than_its_envelope_is_so_for_all_its_shapes(space):
    first, second, *_ = [one for one in space.candidates.values() if one.preset == "m5-small"]
    other = next(one for one in space.candidates.values() if one.preset == "m5-balanced")
    rates = Rates(space.candidates, [outcome(first.shape, tok_per_sec=first.tok_per_sec / 2)])
    assert rates.of(first) == pytest.approx(first.tok_per_sec / 2)
    assert rates.of(second) == pytest.approx(second.tok_per_sec / 2)
    assert rates.of(other) == pytest.approx(other.tok_per_sec / 2)


def test_passes_of_a_size_that_is_slow_here_do_not_make_others_slow(space):
    model = [one for one in space.candidates.values() if one.preset == "m5-small"]
    small = [one for one in model if pass_tokens(one.shape) <= 4096]
    large = [one for one in model if pass_tokens(one.shape) >= 32768]
    outcomes = [outcome(one.shape, tok_per_sec=one.tok_per_sec * 0.8) for one in large[:3]]
    outcomes += [outcome(one.shape, tok_per_sec=one.tok_per_sec) for one in small[:3]]
    rates = Rates(space.candidates, outcomes)
    assert rates.of(large[-1]) < 0.9 * large[-1].tok_per_sec
    assert rates.of(small[-1]) > 0.95 * small[-1].tok_per_sec


def test_a_probe_is_expected_to_cost_what_probes_have_cost(space):
    costs = ProbeCosts([outcome(next(iter(space.candidates)))], Rung.CHEAP)
    assert costs.expected(18.75, 50_000) == pytest.approx(40 + 18.75)
    assert costs.expected(75, 25_000) == pytest.approx(36 + 75 + 8)
    assert costs.limit(75, 25_000) > 2 * costs.expected(75, 25_000)


def test_everything_on_offer_fits_and_trains_enough_steps(space):
    for one in space.candidates.values():
        assert space.envelope.band(one.shape) is not Band.TOO_LARGE
        assert one.tok_per_sec * 300 >= FEWEST_STEPS * one.shape.total_batch_size
        assert space.candidate(space.params(one.shape)) == one


def test_each_model_with_its_windows_is_on_offer_once(space):
    seen = [(one.model_copy(update={"window_pattern": "L"}), *window_sizes(one)) for one in space.candidates]
    assert len(seen) == len(set(seen))


def test_a_default_from_elsewhere_becomes_the_nearest_offer(space):
    shape = PRESETS["m5-large"].shape
    nearest = space.nearest(shape)
    assert nearest is not None
    assert (nearest.shape.depth, nearest.shape.seq_len) == (shape.depth, shape.seq_len)
    assert nearest.shape.total_batch_size == shape.total_batch_size
    assert nearest.shape.device_batch_size >= shape.device_batch_size


def test_a_machine_that_holds_no_preset_is_told_so():
    machine = simulated("laptop", 1)
    envelope = machine.envelope(OFFERED)
    nothing = [family.model_copy(update={"largest_pass_tokens": 0}) for family in envelope.families]
    with pytest.raises(ValueError, match="no shape of m5-tiny"):
        Space(
            envelope.model_copy(update={"families": tuple(nothing)}), {"m5-tiny": OFFERED["m5-tiny"]},
            vocab_size=8192, target_s=300,
        )  # fmt: skip
