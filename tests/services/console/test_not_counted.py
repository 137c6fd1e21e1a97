"""A run that does not count, as people are told of it: by how much it missed, and what another one can change."""

import pytest

from services.console import looking, verdicts
from services.console.unranked import in_vain, meaning
from shared.contracts import Choice, RunResult, Unranked
from shared.fleet.contracts import Outcome
from shared.fleet.view import describe
from shared.research.history import rows
from shared.research.judge import judge
from tests.shared.research.makers import KEY, START, idea, known, result, results

ONE = idea("x = 3")
LOAD = Choice(what="machine load", chosen="23% used by others, 2% stolen", reason="")
LATE = {"unranked": (Unranked.OVER_BUDGET,), "training_seconds": 320.0, "outside_seconds": 10.0}
BUSY = {"unranked": (Unranked.BUSY_MACHINE,), "choices": (LOAD,)}
SECONDS = "330 s, 10 s of them beside its training, so 30 s over the budget, where 2.35 s are allowed"
SHARE = "23% used by others, 2% stolen of its processors, where 10% in all are allowed"
MISSED = pytest.mark.parametrize(("changes", "by"), [(LATE, SECONDS), (BUSY, SHARE)])


def missed(changes: dict) -> RunResult:
    return result(ONE, 0, 1.9, **changes)


@MISSED
def test_a_run_that_does_not_count_is_told_with_how_much_it_missed(changes, by, capsys):
    state = known((START, results(START, 2.0)), (ONE, [missed(changes)]))
    judged = judge(state, ONE, None, None)
    reason = f"{changes['unranked'][0]}: {by}"
    assert judged.decision.reason == f"it has no run that counts: {reason}"
    assert verdicts.as_json(judged)["left_out"] == {f"{ONE.id}-0": reason}
    verdicts.show(judged, json=False)
    assert f"left out {ONE.id}-0: {reason}" in capsys.readouterr().out
    looking.print_history(rows(state))
    assert f"1.900000  {reason}  (run {ONE.id}-0" in capsys.readouterr().out
    assert by in in_vain(missed(changes))
    assert by in meaning(missed(changes))


@MISSED
def test_a_job_whose_run_does_not_count_says_by_how_much_it_missed(changes, by):
    ended = Outcome(job_id="j", status="ok", worker="w", result=missed(changes))
    assert f"not ranked: {changes['unranked'][0]}: {by})" in describe(ended)


def test_an_older_record_without_the_amount_has_the_reason_alone():
    old = missed({"unranked": (Unranked.OVER_BUDGET, Unranked.BUSY_MACHINE)})
    told = rows(known((START, results(START, 2.0)), (ONE, [old])))[-1].not_counted[0].why
    assert told == "over_budget; busy_machine"


def test_after_a_run_over_its_budget_only_a_worse_one_can_count_and_that_is_said():
    late = missed(LATE)
    said = judge(known((START, results(START, 2.0)), (ONE, [late])), ONE, None, None).advice
    for told in (said, in_vain(late)):
        assert "the worse of the two numbers counts then" in told
        assert "idle" not in told
    for again, counts in ((1.8, 1.9), (1.95, 1.95)):
        state = known((START, results(START, 2.0)), (ONE, [late, result(ONE, 0, again, run_id="again")]))
        assert state.evidence(ONE, KEY).values == [counts]


def test_after_a_run_on_a_busy_machine_another_one_counts_as_it_is():
    busy = missed(BUSY)
    assert "let the machine be idle" in in_vain(busy)
    state = known((START, results(START, 2.0)), (ONE, [busy, result(ONE, 0, 1.8, run_id="again")]))
    assert state.evidence(ONE, KEY).values == [1.8]
