"""Which shapes are confirmed, for how long, and which of them is chosen."""

import pytest

from services.calibrator.confirm import Confirmation, confirm, contenders, overhead_s
from services.calibrator.envelope_model import Band
from services.calibrator.extend import extend
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.noise import Noise, concluded, measure_noise
from services.calibrator.prior import Prior
from services.calibrator.ranking import Ranked
from services.calibrator.search import SearchResult
from shared.contracts import Rung, Shape, Status
from shared.experiment.platform_default import Tuning
from shared.experiment.presets import find_preset
from shared.quality import QualityTable, published_rows

TINY, SMALL, BALANCED = (find_preset(name).shape for name in ("m5-tiny", "m5-small", "m5-balanced"))
PRIOR = Prior(expected=(), rung=Rung.CHEAP, rung_reason="")
TABLE = QualityTable(published_rows(), dataset="corpus", hardware_key="here")


def ranked(preset: str, val_bpb: float, shape: Shape | None = None, **changes) -> Ranked:
    values = dict(
        preset=preset, shape=shape or find_preset(preset).shape, val_bpb=val_bpb, spread=0.01, source="table",
        tok_per_sec=10_000.0, memory_mb=100.0, band=Band.COMFORTABLE,
    )  # fmt: skip
    return Ranked.model_validate(values | changes)


def found(*ranking: Ranked, outcomes=(), noise=0.002) -> SearchResult:
    return SearchResult(
        ranked=ranking, stopped="allowance", sure=0.5, margin=0.002, noise=noise, spent_s=1, outcomes=outcomes
    )  # fmt: skip


def outcome(probe: Probe, val_bpb=1.5, wall_s=None, steps=100, status=Status.OK, tok_per_sec=10_000.0) -> Outcome:
    if status is not Status.OK:
        return Outcome(probe=probe, status=status, wall_seconds=5)
    return Outcome(
        probe=probe, status=status, val_bpb=val_bpb, num_tokens=steps * probe.shape.total_batch_size, num_steps=steps,
        tok_per_sec=tok_per_sec, training_seconds=probe.seconds, wall_seconds=wall_s or probe.seconds + 10,
        run_id=f"run-{probe.key}",
    )  # fmt: skip


def searched(preset: str, beside_s: float) -> Outcome:
    probe = Probe(preset=preset, shape=find_preset(preset).shape, seconds=20)
    return outcome(probe, wall_s=20 + beside_s)


class Bench:
    """A Work whose machine answers with what a test says, on a clock that only runs add to."""

    def __init__(self, mode="fast", target_s=300.0, minutes=10.0, answer=outcome):
        self.calibration = type("Asked", (), {"mode": mode, "target_seconds": target_s})()
        self.clock, self.total_s, self.answer, self.probes = self, 60 * minutes, answer, []
        self.spent_s = 0.0

    @property
    def remaining_s(self) -> float:
        return self.total_s - self.spent_s

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        self.probes.append(probe)
        one = self.answer(probe)
        self.spent_s += one.wall_seconds
        return one


def confirmed(bench: Bench, result: SearchResult, allowance_s=100.0, table=TABLE) -> Confirmation:
    return confirm(bench, result, PRIOR, Tuning(), table, allowance_s)


def test_shapes_that_differ_in_the_size_of_their_passes_alone_are_one_contender():
    wider = SMALL.model_copy(update={"device_batch_size": 8, "total_batch_size": SMALL.total_batch_size})
    other = SMALL.model_copy(update={"total_batch_size": 2 * SMALL.total_batch_size})
    ranking = [ranked("m5-small", 1.5), ranked("m5-small", 1.5, wider), ranked("m5-small", 1.501, other)]
    assert [one.shape for one in contenders(found(*ranking), 3)] == [SMALL, other]


def test_another_model_is_confirmed_before_another_batch_of_the_best_and_hopeless_ones_never():
    other = SMALL.model_copy(update={"total_batch_size": 2 * SMALL.total_batch_size})
    ranking = [ranked("m5-small", 1.5), ranked("m5-small", 1.501, other), ranked("m5-tiny", 1.51)]
    result = found(*ranking, ranked("m5-balanced", 1.9), outcomes=(searched("m5-small", 10), searched("m5-tiny", 10)))
    assert [one.preset for one in contenders(result, 2)] == ["m5-small", "m5-tiny"]
    assert BALANCED not in {one.shape for one in contenders(result, 9)}


def test_a_model_that_the_search_did_not_run_is_no_better_than_another_batch_and_one_that_failed_is_no_contender():
    other = SMALL.model_copy(update={"total_batch_size": 2 * SMALL.total_batch_size})
    ranking = [ranked("m5-small", 1.5), ranked("m5-small", 1.501, other), ranked("m5-tiny", 1.51)]
    assert [one.preset for one in contenders(found(*ranking), 3)] == ["m5-small", "m5-small", "m5-tiny"]
    hung = outcome(Probe(preset="m5-tiny", shape=TINY, seconds=20), status=Status.TIMED_OUT)
    result = found(*ranking, outcomes=(searched("m5-small", 10), hung))
    assert [one.preset for one in contenders(result, 3)] == ["m5-small", "m5-small"]


def test_minutes_are_planned_by_what_runs_of_the_same_model_took_beside_their_budget():
    known = [searched("m5-tiny", 9), searched("m5-small", 12), searched("m5-balanced", 70)]
    assert overhead_s(known, {"m5-tiny", "m5-small"}) == 12
    assert overhead_s(known, {"m5-large"}) == 70  # nothing of its own: the most that any took
    assert overhead_s([], {"m5-tiny"}) == 20


def test_one_contender_is_confirmed_where_two_do_not_fit():
    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.501), outcomes=(searched("m5-small", 30),))
    bench = Bench()
    assert confirmed(bench, ranking, allowance_s=78).seconds == 48
    assert [probe.preset for probe in bench.probes] == ["m5-small"]


def test_without_time_for_a_run_the_search_alone_chooses_and_says_so():
    bench = Bench()
    confirmation = confirmed(bench, found(ranked("m5-small", 1.5)), allowance_s=20)
    assert (bench.probes, confirmation.chosen.preset) == ([], "m5-small")
    assert "no time to confirm" in confirmation.reason


def scores(**val_bpb):
    return lambda probe: outcome(probe, val_bpb[probe.preset.removeprefix("m5-")])


def test_a_run_that_is_much_worse_than_expected_turns_the_choice():
    ranking = found(ranked("m5-small", 1.50), ranked("m5-tiny", 1.502))
    confirmation = confirmed(Bench(answer=scores(small=2.3, tiny=1.5)), ranking)
    assert confirmation.chosen.preset == "m5-tiny"
    assert "expected to be" in confirmation.reason
    assert "better than the search's first" in confirmation.reason


def test_a_quick_learner_that_is_ahead_at_a_short_budget_is_not_chosen_for_that():
    """10 s of 300: the table expects the larger model to overtake the smaller one, which has learned what it can."""
    fast = {"m5-tiny": 1e5, "m5-small": 9e4}
    expected = TABLE.predict_many([(SMALL, int(9e4 * 300)), (TINY, int(1e5 * 300))]).val_bpb
    assert expected[0] < expected[1]

    def answer(probe):
        tokens = int(fast[probe.preset] * probe.seconds) // 12288 * 12288
        said = TABLE.predict(probe.shape, tokens).val_bpb
        return outcome(probe, said + (0.01 if probe.preset == "m5-small" else 0), steps=tokens // 12288,
                       tok_per_sec=fast[probe.preset])  # fmt: skip

    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.502))
    confirmation = confirmed(Bench(answer=answer), ranking, allowance_s=40)
    assert confirmation.chosen.preset == "m5-small"


def test_a_first_that_fails_is_not_chosen_and_the_reason_says_so():
    def answer(probe):
        return outcome(probe, status=Status.CRASHED if probe.preset == "m5-small" else Status.OK)

    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.501))
    confirmation = confirmed(Bench(answer=answer), ranking)
    assert confirmation.chosen.preset == "m5-tiny"
    assert confirmation.reason.startswith("the search's first came to no number when it was confirmed")


def test_a_first_whose_run_went_astray_is_not_chosen_whatever_the_table_expects_of_it():
    """It came to a number, but a model that was never trained knows more."""
    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.501))
    confirmation = confirmed(Bench(answer=scores(small=7.0, tiny=1.9)), ranking)
    assert confirmation.chosen.preset == "m5-tiny"
    assert confirmation.reason.startswith("the search's first learned nothing when it was confirmed")


def test_a_first_of_too_few_steps_to_tell_its_quality_is_not_passed_over_for_that():
    def answer(probe):
        return outcome(probe, 3.0 if probe.preset == "m5-small" else 1.9, steps=3 if probe.preset == "m5-small" else 99)

    seen = [searched("m5-small", 10)]
    table = TABLE.with_rows([])
    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.501), outcomes=tuple(seen))
    confirmation = confirmed(Bench(answer=answer), ranking, table=table)
    first, other = confirmation.outcomes
    informed = confirmation.chosen
    assert (first.num_steps, other.num_steps) == (3, 99)
    assert informed.preset == "m5-small"  # the table expects it to be better at 10,000 tokens a second


def test_among_equals_the_one_that_takes_less_memory_is_chosen():
    other = SMALL.model_copy(update={"total_batch_size": 2 * SMALL.total_batch_size})
    ranking = [ranked("m5-small", 1.5, band=Band.WARM), ranked("m5-small", 1.5, other)]
    result = found(*ranking, outcomes=(searched("m5-small", 10),)).model_copy(update={"margin": 1.0})
    confirmation = confirmed(Bench(), result)
    assert confirmation.chosen.shape == other
    assert "1.0000" in confirmation.reason


def test_what_is_expected_to_be_better_is_chosen_although_a_run_has_more_noise_than_that():
    ranking = found(ranked("m5-small", 1.50), ranked("m5-tiny", 1.502), noise=5.0)
    confirmation = confirmed(Bench(answer=scores(small=2.3, tiny=1.5)), ranking)
    assert confirmation.chosen.preset == "m5-tiny"


def test_runs_that_all_fail_leave_the_search_its_choice():
    ranking = found(ranked("m5-small", 1.5), ranked("m5-tiny", 1.501))
    confirmation = confirmed(Bench(answer=lambda probe: outcome(probe, status=Status.CRASHED)), ranking)
    assert (confirmation.chosen.preset, confirmation.reason) == (
        "m5-small", "chosen by the search: no confirming run told its score",
    )  # fmt: skip


def test_where_all_contenders_fail_one_that_ran_in_the_search_is_confirmed_and_chosen():
    """As where rows from elsewhere praise batches that diverge here."""
    batches = [SMALL.model_copy(update={"total_batch_size": size}) for size in (4096, 8192, 16384, 32768)]
    ranking = [ranked("m5-small", 1.5 + place / 1000, shape) for place, shape in enumerate(batches)]
    ranking[3] = ranking[3].model_copy(update={"probes": ("a probe of the search",)})

    def answer(probe):
        return outcome(probe, status=Status.OK if probe.shape.total_batch_size > 16384 else Status.DIVERGED)

    bench = Bench(answer=answer)
    confirmation = confirmed(bench, found(*ranking, outcomes=(searched("m5-small", 10),)))
    assert confirmation.chosen.shape == batches[3]
    assert [probe.shape for probe in bench.probes] == [batches[0], batches[1], batches[3]]
    assert confirmation.reason.startswith("the search's first came to no number when it was confirmed")


def test_a_shape_that_failed_is_not_chosen_where_there_is_no_time_for_another_run():
    batches = [SMALL.model_copy(update={"total_batch_size": size}) for size in (4096, 8192, 16384)]
    ranking = [ranked("m5-small", 1.5 + place / 1000, shape) for place, shape in enumerate(batches)]
    bench = Bench(minutes=1, answer=lambda probe: outcome(probe, status=Status.DIVERGED))
    result = found(*ranking, outcomes=(searched("m5-small", 10),))
    confirmation = confirmed(bench, result, allowance_s=59)
    assert (len(bench.probes), confirmation.chosen.shape) == (2, batches[2])


# noise and what is left over


def chosen(seconds=20.0) -> Confirmation:
    return Confirmation(runs=(), chosen=ranked("m5-tiny", 1.5), reason="first by the search", seconds=seconds)


def noisy(probe: Probe) -> Outcome:
    return outcome(probe, 1.5 + 0.001 * (probe.seed % 3), wall_s=probe.seconds + 10)


def test_noise_runs_have_the_budget_that_their_own_models_overhead_leaves():
    bench = Bench(answer=noisy)
    known = [searched("m5-tiny", 10), searched("m5-large", 200)]
    noise = measure_noise(bench, chosen(seconds=0), PRIOR, Tuning(), known, 120)
    assert (noise.floor.num_seeds, noise.floor.budget_seconds) == (3, 30)


def test_the_confirming_run_is_one_of_the_seeds_where_its_budget_can_be_paid():
    bench = Bench(answer=noisy)
    noise = measure_noise(bench, chosen(seconds=35), PRIOR, Tuning(), [searched("m5-tiny", 10)], 100)
    assert {probe.seconds for probe in bench.probes} == {35}
    assert noise.floor.budget_seconds == 35


def test_a_seed_that_the_minutes_would_cut_short_is_not_begun():
    bench = Bench(answer=noisy, minutes=2.2)
    noise = measure_noise(bench, chosen(seconds=35), PRIOR, Tuning(), [searched("m5-tiny", 10)], 140)
    assert [probe.seed for probe in bench.probes] == [1001, 1002]
    assert noise.floor.num_seeds == 2
    assert noise.reason.startswith("2 seeds of 35 s, no time for 1 more; weak")


def weak_noise(seconds=20.0, num_seeds=3) -> Noise:
    probes = [Probe(preset="m5-tiny", shape=TINY, seconds=seconds, seed=1001 + place) for place in range(num_seeds)]
    return concluded([noisy(probe) for probe in probes], num_seeds)


def extended(bench: Bench, confirmation: Confirmation, noise: Noise, allowance_s: float):
    known = [searched("m5-tiny", 10)]
    return extend(bench, confirmation, PRIOR, Tuning(), noise, known, TABLE, allowance_s)


def test_left_over_minutes_go_to_a_longer_run_where_the_confirming_one_was_short():
    bench = Bench(answer=noisy)
    rest = extended(bench, chosen(seconds=20), weak_noise(), 101)
    assert [(probe.seconds, probe.seed) for probe in bench.probes] == [(91, 1001)]
    assert rest.longer.outcome.probe.seconds == 91
    assert rest.longer.said is not None
    assert rest.noise is None
    assert rest.reason == "101 s were left: a run of 91 s"


def test_left_over_minutes_go_to_seeds_where_the_confirming_run_was_long_enough():
    bench = Bench(answer=noisy)
    rest = extended(bench, chosen(seconds=150), weak_noise(), 101)
    assert [(probe.seconds, probe.seed) for probe in bench.probes] == [(20, 1004), (20, 1005), (20, 1006)]
    assert (rest.noise.floor.num_seeds, rest.noise.floor.weak) == (6, True)
    assert len(rest.noise.outcomes) == 6
    assert rest.reason == "101 s were left: 3 more seeds"


def test_seeds_are_added_until_there_are_enough_and_no_further():
    bench = Bench(answer=noisy, minutes=60)
    rest = extended(bench, chosen(seconds=150), weak_noise(), 2000)
    assert (rest.noise.floor.num_seeds, rest.noise.floor.weak) == (8, False)


def test_where_there_is_time_for_both_the_longer_run_comes_first():
    bench = Bench(answer=noisy, minutes=60)
    rest = extended(bench, chosen(seconds=20), weak_noise(), 400)
    assert [probe.seconds for probe in bench.probes] == [300, 20, 20, 20]
    assert rest.reason == "400 s were left: a run of 300 s and 3 more seeds"


@pytest.mark.parametrize("allowance_s", [0, 12, 25])
def test_a_few_seconds_are_left_unused_and_said(allowance_s):
    bench = Bench(answer=noisy)
    rest = extended(bench, chosen(seconds=20), weak_noise(), allowance_s)
    assert (bench.probes, rest.outcomes) == ([], ())
    assert rest.reason == f"{allowance_s} s were left: too few for another run"
