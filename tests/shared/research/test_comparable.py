"""Which runs of an idea count, as somebody sees it who wants a good verdict."""

import pytest

from shared.contracts import Budget, Integrity, Rung, Status, Unranked, VoidCause
from shared.experiment.identity import seed_of
from shared.research.comparable import MOST_AGAIN, LeftOut, evidence, key_of
from tests.shared.research.makers import KEY, SHAPE, idea, result, results, sha

IDEA = idea()


def why(*found, like=None) -> list[LeftOut]:
    return [reason for _, reason in evidence(IDEA, KEY, found, like).left_out]


def test_honest_runs_count_in_the_order_of_their_seeds():
    runs = results(IDEA, 1.9, 1.8, 1.7)
    found = evidence(IDEA, KEY, reversed(runs))
    assert found.values == [1.9, 1.8, 1.7]
    assert found.next_index == 3


def test_a_seed_of_ones_own_choice_does_not_count():
    assert why(result(IDEA, 0, 1.0, seed=42)) == [LeftOut.OTHER_SEED]


def test_a_seed_that_was_drawn_for_another_idea_does_not_count():
    assert why(result(IDEA, 0, 1.0, seed=seed_of(idea("y = 2").id, 0))) == [LeftOut.OTHER_SEED]


def test_leaving_out_a_bad_run_leaves_out_all_after_it():
    runs = results(IDEA, 1.9, 2.5, 1.7, 1.7)
    found = evidence(IDEA, KEY, [runs[0], runs[2], runs[3]])
    assert found.values == [1.9]
    assert found.next_index == 1
    assert {reason for _, reason in found.left_out} == {LeftOut.AFTER_A_GAP}


def test_running_a_seed_again_can_only_make_it_worse():
    again = [result(IDEA, 0, value, run_id=f"run-{value}") for value in (1.9, 1.7, 2.0)]
    found = evidence(IDEA, KEY, again)
    assert found.values == [2.0]
    assert [reason for _, reason in found.left_out] == [LeftOut.REPEATED] * 2


def test_taking_longer_than_the_budget_when_it_has_bad_luck_gains_a_recipe_nothing():
    """A sixth of the ideas that gain nothing were kept where two runs with a seed could be avoided like that."""
    late = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0}
    bad, good = (result(IDEA, 0, value, run_id=f"late-{value}", **late) for value in (2.0, 1.5))
    ranked = result(IDEA, 0, 1.8)
    found = evidence(IDEA, KEY, [bad, good, ranked])
    assert found.values == [2.0]
    assert dict(found.left_out) == {ranked.run_id: LeftOut.REPEATED, good.run_id: LeftOut.UNRANKED}
    assert evidence(IDEA, KEY, [bad]).values == []


def test_a_long_run_of_another_recipe_is_none_of_the_idea_also_where_it_names_its_seed():
    late = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0, "recipe_sha": sha("another")}
    foreign, ranked = result(IDEA, 0, 2.0, run_id="foreign", **late), result(IDEA, 0, 1.8)
    found = evidence(IDEA, KEY, [foreign, ranked])
    assert (found.values, dict(found.left_out)) == ([1.8], {"foreign": LeftOut.OTHER_RECIPE})


def test_a_run_that_came_to_no_number_is_not_forgotten():
    found = evidence(IDEA, KEY, results(IDEA, 1.9, None, 1.8))
    assert [run.status for run in found.failed] == [Status.CRASHED]


@pytest.mark.parametrize(
    ("reason", "changes"),
    [
        (LeftOut.UNRANKED, {"unranked": (Unranked.DEMO_CORPUS,)}),
        (LeftOut.UNRANKED, {"unranked": (Unranked.SMOKE_RUNG,), "rung": Rung.SMOKE}),
        (LeftOut.UNRANKED, {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0}),
        (LeftOut.UNRANKED, {"unranked": (Unranked.TOKEN_BUDGET,), "budget": Budget(tokens=10**6)}),
        (LeftOut.NO_SANDBOX, {"integrity": Integrity.NONE}),
        (LeftOut.NO_SANDBOX, {"integrity": None}),
        (LeftOut.OTHER_RECIPE, {"recipe_sha": "a" * 64}),
        (LeftOut.OTHER_RECIPE, {"idea": None}),
        (LeftOut.OWN_TERMS, {"own_terms": True}),
        (LeftOut.OTHER_RECIPE, {"idea": idea("y = 2").id}),
        (LeftOut.OTHER_KEY, {"hardware_key": "nvidia-hopper-h200-140gb"}),
        (LeftOut.OTHER_KEY, {"engine": "mlx"}),
        (LeftOut.OTHER_KEY, {"dataset": "e" * 64}),
        (LeftOut.OTHER_KEY, {"budget": Budget(seconds=600)}),
        (LeftOut.OTHER_KEY, {"rung": Rung.CHEAP}),
        (LeftOut.OTHER_KEY, {"eval_signature": "older"}),
    ],
)
def test_what_is_not_comparable_does_not_count(reason, changes):
    assert why(result(IDEA, 0, 1.0, **changes)) == [reason]


def test_a_rejected_run_is_a_failure_and_no_number():
    rejected = result(IDEA, 0, None, status=Status.REJECTED)
    assert evidence(IDEA, KEY, [rejected]).failed == (rejected,)


def test_a_run_that_somebody_stopped_is_made_again_on_the_same_seed():
    found = evidence(IDEA, KEY, [result(IDEA, 0, None, status=Status.CANCELLED), result(IDEA, 1, 1.5)])
    assert (found.values, found.next_index) == ([], 0)


def test_a_recipe_that_breaks_the_protocol_whenever_it_has_bad_luck_does_not_choose_its_runs():
    """It can do so when training is over: a state of another shape, say."""
    broken = result(IDEA, 0, None, status=Status.INVALID)
    found = evidence(IDEA, KEY, [broken, result(IDEA, 0, 1.5, run_id="again")])
    assert found.failed == (broken,)


VAIN = (
    {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 330.0},
    {"val_bpb": None, "status": Status.CANCELLED},
    {"val_bpb": None, "void": VoidCause.HOST_SLEPT},
)


@pytest.mark.parametrize("changes", VAIN)
def test_a_seed_is_tried_three_times_whatever_else_the_jobs_were_asked(changes):
    """A hub's names of jobs follow from all that was asked: with one more point of a curve there are three more."""
    vain = [result(IDEA, 0, **{"val_bpb": 2.0, **changes}, run_id=f"vain-{number}") for number in range(MOST_AGAIN)]
    lucky = result(IDEA, 0, 1.5)
    assert evidence(IDEA, KEY, [*vain[1:], lucky]).values == [2.0 if "unranked" in changes else 1.5]
    found = evidence(IDEA, KEY, [*vain, lucky])
    assert (found.values, found.next_index) == ([], 0)
    assert (lucky.run_id, LeftOut.TRIED_TOO_OFTEN) in found.left_out


def test_tries_elsewhere_or_afterwards_take_nothing_from_a_seed():
    vain = [result(IDEA, 0, run_id=f"vain-{number}", **VAIN[0]) for number in range(MOST_AGAIN)]
    elsewhere = [run.model_copy(update={"hardware_key": "cpu-other"}) for run in vain]
    of_other_seed = [run.model_copy(update={"seed": seed_of(IDEA.id, 1)}) for run in vain]
    lucky = result(IDEA, 0, 1.5)
    assert evidence(IDEA, KEY, [*elsewhere, *of_other_seed, lucky, *vain]).values == [1.5]


def test_a_void_attempt_says_nothing():
    assert why(result(IDEA, 0, None, void=VoidCause.HOST_SLEPT)) == [LeftOut.NOT_OVER]


def test_a_run_that_went_to_another_machine_has_to_be_made_here_before_a_later_one_counts():
    """Its luck may be known from there."""
    runs = [result(IDEA, 0, 1.5, run_id="there", hardware_key="cpu-other"), result(IDEA, 1, 1.9)]
    found = evidence(IDEA, KEY, runs)
    assert (found.values, found.next_index) == ([], 0)
    assert evidence(IDEA, KEY, [*runs, result(IDEA, 0, 1.6)]).values == [1.6, 1.9]


@pytest.mark.parametrize("again", [{"val_bpb": 2.5}, {"val_bpb": 1.5}, {"val_bpb": None, "status": Status.CRASHED}])
def test_in_a_pool_the_first_result_of_a_seed_counts_whatever_is_run_later(again):
    """Also of a kept idea: whoever made its runs worse, or fail, would make its children better."""
    first, second = results(IDEA, 1.9, 1.8)
    later = result(IDEA, 0, **again, run_id="later")
    found = evidence(IDEA, KEY, [first, second, later], is_pool=True)
    assert found.values == [1.9, 1.8]
    late = result(IDEA, 0, 2.5, run_id="late", unranked=(Unranked.OVER_BUDGET,), training_seconds=330.0)
    assert evidence(IDEA, KEY, [late, first, second, late], is_pool=True).values == [1.9, 1.8]


def test_a_look_at_a_seed_with_a_shorter_budget_does_not_excuse_from_running_it():
    short = result(IDEA, 0, 2.5, budget=Budget(seconds=10), training_seconds=10.0)
    found = evidence(IDEA, KEY, [short, result(IDEA, 1, 1.5)])
    assert (found.values, found.next_index) == ([], 0)


def test_a_run_of_another_shape_does_not_count():
    other = SHAPE.model_copy(update={"depth": 4})
    assert why(result(IDEA, 0, 1.0, shape=other), like=result(IDEA, 1)) == [LeftOut.OTHER_SHAPE]


def test_a_number_without_a_rung_or_under_a_token_budget_has_no_key():
    assert key_of(result(IDEA, 0, None)) is None
    assert key_of(result(IDEA, 0)) == KEY
