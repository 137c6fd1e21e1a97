"""Which rows a rung scores, and which rung a run is allowed to pick."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import Rung
from shared.evaluation.costs import CostKey, EvalCost
from shared.evaluation.rungs import (
    EVAL_SEQ_LEN,
    RUNG_TOKENS,
    SLICES,
    choose_rung,
    eval_signature,
    evaluation_batch,
    rows_for,
    shortfall,
    tokens_for,
)

NOW = datetime(2026, 7, 1, tzinfo=UTC)
KEY = CostKey(
    hardware_key="apple-m5-32gb-10gpu", shape_signature="a" * 64, runtime_signature="b" * 64, eval_signature="c" * 64
)
MANY_ROWS = 20_000
corpora = st.integers(min_value=1, max_value=30_000)
rungs = st.sampled_from(list(Rung))


def cost(rung=Rung.CHEAP, seconds=1.0, run_id="run-1", days_ago=1.0, **changes):
    fields = {**KEY.model_dump(), "rung": rung, "num_tokens": RUNG_TOKENS[rung], "seconds": seconds, "run_id": run_id}
    return EvalCost(**{**fields, "measured_at": NOW - timedelta(days=days_ago), **changes})


def costs_per_token(microseconds, rungs=(Rung.CHEAP, Rung.REFERENCE), runs=3, days_ago=1.0, jitter=0.0):
    return [
        cost(rung, RUNG_TOKENS[rung] * microseconds * 1e-6 * (1 + jitter * run), f"run-{run}", days_ago)
        for rung in rungs
        for run in range(runs)
    ]


def choose(costs, requested="auto", budget_s=300.0, num_validation_rows=MANY_ROWS, key=KEY):
    return choose_rung(
        requested, budget_s=budget_s, costs=costs, key=key, num_validation_rows=num_validation_rows, now=NOW
    )


@given(rungs, corpora)
def test_rows_are_unique_ascending_in_range_and_as_many_as_promised(rung, num_rows):
    rows = rows_for(rung, num_rows)
    assert np.all(np.diff(rows) > 0)
    assert rows[0] >= 0
    assert rows[-1] < num_rows
    assert len(rows) * EVAL_SEQ_LEN == tokens_for(rung, num_rows)
    assert len(rows) == min(RUNG_TOKENS[rung] // EVAL_SEQ_LEN, num_rows)


@given(st.sampled_from([Rung.PROBE, Rung.CHEAP, Rung.REFERENCE]), corpora)
def test_slices_start_evenly_spaced_over_the_rows_that_full_reads(rung, num_rows):
    horizon = min(num_rows, 10_240)
    rows_per_slice = RUNG_TOKENS[rung] // EVAL_SEQ_LEN // SLICES
    if horizon <= rows_per_slice * SLICES:
        return
    slices = rows_for(rung, num_rows).reshape(SLICES, rows_per_slice)
    assert np.all(np.diff(slices, axis=1) == 1)
    gaps = np.diff(np.append(slices[:, 0], horizon))
    assert gaps.max() - gaps.min() <= 1


@given(corpora)
def test_the_rows_of_each_rung_are_among_those_of_the_next(num_rows):
    probe, cheap, reference, full = (rows_for(rung, num_rows) for rung in [*Rung][1:])
    assert np.isin(probe, cheap).all()
    assert np.isin(cheap, reference).all()
    assert np.isin(reference, full).all()


def test_full_reads_in_order_from_the_start():
    assert np.array_equal(rows_for(Rung.FULL, MANY_ROWS), np.arange(10_240))


def test_smoke_rows_are_spread_over_the_corpus_and_are_probe_rows():
    assert np.array_equal(rows_for(Rung.SMOKE, 10_240), np.array([1, 3, 5, 7]) * 10_240 // 8)
    assert np.isin(rows_for(Rung.SMOKE, 339), rows_for(Rung.PROBE, 339)).all()


def test_a_corpus_smaller_than_the_rung_is_used_whole_and_said_so():
    assert np.array_equal(rows_for(Rung.CHEAP, 100), np.arange(100))
    assert "cheap asks for 128 validation rows, this corpus has 100" in shortfall(Rung.CHEAP, 100)
    assert shortfall(Rung.CHEAP, 128) == ""


def test_a_corpus_without_validation_rows_is_refused():
    with pytest.raises(ValueError, match="no validation rows"):
        rows_for(Rung.CHEAP, 0)


@pytest.mark.parametrize(("tokens_per_step", "rows"), [(65_536, 32), (12_288, 6), (2048, 1), (512, 1)])
def test_the_evaluation_batch_holds_the_tokens_of_a_step(tokens_per_step, rows):
    assert evaluation_batch(tokens_per_step) == rows


def test_the_signature_of_the_evaluation_changes_only_on_purpose():
    """When this fails, published numbers stop being comparable: raise SEMANTICS_VERSION knowingly."""
    assert eval_signature() == "833b5b85cb5b6ba90d4b992337f57aaf7b4e16830b23808ad1c6abfc2fe99d03"


# microseconds per token on reference and cheap -> what 300 s can afford
@pytest.mark.parametrize(
    ("microseconds", "rung"),
    [(0.14, Rung.FULL), (0.15, Rung.REFERENCE), (11.4, Rung.REFERENCE), (11.5, Rung.CHEAP), (500, Rung.CHEAP)],
)
def test_stable_timing_picks_the_largest_rung_within_its_share_of_the_budget(microseconds, rung):
    assert choose(costs_per_token(microseconds)).rung is rung


FAST = 0.01
CAPS = {
    "one checkpoint": (costs_per_token(FAST, runs=1), Rung.REFERENCE, "single", "fresh", "needs stable timing"),
    "two runs": (costs_per_token(FAST, runs=2), Rung.REFERENCE, "repeated", "fresh", "needs stable timing"),
    "one rung": (costs_per_token(FAST, rungs=[Rung.CHEAP]), Rung.REFERENCE, "repeated", "fresh", "needs stable"),
    "wild timing": (costs_per_token(FAST, jitter=0.3), Rung.REFERENCE, "repeated", "fresh", "needs stable timing"),
    "aging": (costs_per_token(FAST, days_ago=31), Rung.REFERENCE, "stable", "aging", "last 30 days"),
    "stale": (costs_per_token(FAST, days_ago=91), Rung.CHEAP, "stable", "stale", "91 days old"),
    "nothing": ([], Rung.CHEAP, "none", "none", "no evaluation was timed on apple-m5-32gb-10gpu"),
    "only probe": ([cost(Rung.PROBE, 0.01)], Rung.CHEAP, "none", "none", "no evaluation was timed"),
    "only smoke": ([cost(Rung.SMOKE, 0.01)], Rung.CHEAP, "none", "none", "no evaluation was timed"),
    "other shape": ([cost(shape_signature="d" * 64)], Rung.CHEAP, "none", "none", "this shape"),
    "other runtime": ([cost(runtime_signature="d" * 64)], Rung.CHEAP, "none", "none", "framework version"),
    "other evaluation": ([cost(eval_signature="d" * 64)], Rung.CHEAP, "none", "none", "the evaluation changed"),
}


@pytest.mark.parametrize("name", CAPS)
def test_thin_old_or_foreign_measurements_cap_the_rung_and_the_reason_says_so(name):
    costs, rung, confidence, freshness, words = CAPS[name]
    choice = choose(costs)
    assert (choice.rung, choice.confidence, choice.freshness) == (rung, confidence, freshness)
    assert words in choice.reason
    assert (choice.status == "fallback") == (rung is Rung.CHEAP)


def test_a_rung_that_was_never_timed_is_projected_per_token():
    choice = choose([cost(Rung.CHEAP, seconds=1.0)])
    assert (choice.rung, choice.status) == (Rung.REFERENCE, "projected")
    assert "reference is projected to cost 2.00% of the budget" in choice.reason


def test_one_old_measurement_does_not_age_a_fresh_one():
    choice = choose([*costs_per_token(FAST), cost(days_ago=200, seconds=1e6)])
    assert (choice.rung, choice.freshness) == (Rung.FULL, "fresh")


def test_repeated_passes_of_one_run_are_one_opinion():
    assert choose([cost(days_ago=day) for day in range(1, 9)]).confidence == "single"


@pytest.mark.parametrize("requested", [str(rung) for rung in Rung])
def test_a_rung_asked_for_by_name_is_always_honoured(requested):
    choice = choose([], requested=requested)
    assert (choice.rung, choice.status) == (Rung(requested), "requested")


def test_a_token_budget_of_unknown_duration_falls_back_to_cheap():
    choice = choose(costs_per_token(FAST), budget_s=None)
    assert (choice.rung, choice.status) == (Rung.CHEAP, "fallback")
    assert "token budget" in choice.reason


def test_a_rung_that_would_score_the_same_rows_as_a_smaller_one_is_not_picked():
    choice = choose(costs_per_token(FAST), num_validation_rows=500)
    assert choice.rung is Rung.REFERENCE
    assert "same rows" in choice.reason
    assert choose(costs_per_token(FAST), num_validation_rows=100).rung is Rung.CHEAP


def test_an_unknown_rung_is_refused():
    with pytest.raises(ValueError, match="not a valid Rung"):
        choose([], requested="gigantic")
