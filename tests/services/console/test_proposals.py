"""How an idea comes into the book."""

import pytest

from services.console import verdicts
from services.console.proposals import described, register
from services.console.research import Here, arguments, whoami
from shared.contracts import Unranked
from shared.experiment.identity import seed_of
from shared.research.alike import open_alike
from shared.research.book import Proposal, Trial
from shared.research.idea import Idea
from shared.research.judge import judge
from shared.runs.shipped import default_recipe
from tests.ideas import RECIPE
from tests.shared.research.makers import KEY, START, idea, known, result, results

SOURCE = RECIPE.format(quality=2.0).encode()


@pytest.mark.usefixtures("workplace")
def test_who_names_the_time_that_is_the_default_asks_for_the_same_runs_as_who_does_not():
    asked = [{"dataset": "words"}, {"dataset": "words", "time_budget": 300.0}]
    trials = [register(Here(), SOURCE, engine="torch", target="cpu", asked=one, parent="none")[1] for one in asked]
    assert trials[0].job_id(0) == trials[1].job_id(0)


def proposed(source: bytes, note: str) -> list[str]:
    """Notes of the ideas in the book, in order."""
    register(Here(), source, engine="torch", target="cpu", asked={"dataset": "words"}, note=note)
    return [idea.note for idea in Here().known().ideas.values()]


@pytest.mark.usefixtures("workplace")
def test_the_shipped_recipe_as_a_start_has_the_note_it_was_submitted_with():
    assert proposed(default_recipe("torch").read_bytes(), "where we begin") == ["where we begin"]
    assert proposed(SOURCE, "a change") == ["where we begin", "a change"]


@pytest.mark.usefixtures("workplace")
def test_a_start_that_nobody_submitted_is_called_the_shipped_recipe():
    assert proposed(SOURCE, "a change") == ["the shipped recipe", "a change"]


def proposal(quality: float, note: str, **options) -> tuple[Idea, Trial]:
    asked = {"dataset": "words"}
    source = RECIPE.format(quality=quality).encode()
    return register(Here(), source, engine="torch", target="cpu", asked=asked, note=note, **options)


@pytest.mark.usefixtures("workplace")
def test_who_submits_an_idea_is_told_of_open_ones_that_change_the_same_line_of_the_same_parent(capsys):
    parent = proposal(2.0, "a start", parent="none")[0].id
    first, _ = proposal(3.0, "three times", parent=parent)
    longer, _ = proposal(2.0, "a deeper model", parent=parent, settings={"depth": "3"})
    second, trial = proposal(4.0, "four times", parent=parent)
    assert described(longer, trial, Here().known())["alike"] == []
    assert capsys.readouterr().err == ""
    (alike,) = described(second, trial, Here().known())["alike"]
    assert (alike["id"], alike["note"], alike["line"]) == (first.id, "three times", "QUALITY = 2.0")
    said = f"idea {first.id} ('three times', of {whoami()}, your account) is open (not run) and changes the same: "
    assert f"{said}QUALITY = 2.0" in capsys.readouterr().err
    deeper, trial = proposal(2.0, "deeper still", parent=parent, settings={"depth": "4"})
    assert [one["line"] for one in described(deeper, trial, Here().known())["alike"]] == ["--set depth"]


@pytest.mark.parametrize("asked", [{"checkpoint_every": 0.05}, {"checkpoint_mode": "async"}, {"curve_points": 4}])
@pytest.mark.usefixtures("workplace")
def test_an_idea_may_not_ask_for_what_slows_its_parents_runs_and_not_its_own(asked):
    with pytest.raises(ValueError, match=f"^--{'-'.join(next(iter(asked)).split('_'))} would slow the runs"):
        register(Here(), SOURCE, engine="torch", target="cpu", asked=asked, note="x")
    assert not Here().known().ideas


def test_an_idea_that_is_decided_or_that_changes_something_else_is_not_like_a_new_one():
    one, other = (idea(text) for text in ("x = 3", "x = 4"))
    judged = judge(known((START, results(START, 2.0)), (one, results(one, 2.5))), one, KEY, None)
    runs = (START, results(START, 2.0)), (one, results(one, 2.5)), (other, [])
    assert [like.idea.id for like in open_alike(known(*runs), other)] == [one.id]
    assert open_alike(known(*runs, rulings=[verdicts.ruling_of(judged)]), other) == []
    elsewhere = idea("x = 4", parent=one)
    assert open_alike(known(*runs[:2], (elsewhere, [])), elsewhere) == []


def test_alike_ideas_of_others_come_first_and_one_whose_run_does_not_count_is_none_of_them():
    theirs, mine, in_vain, new = (idea(f"x = {n}", by="a" if n == 3 else "b") for n in (3, 4, 5, 6))
    late = result(in_vain, 0, unranked=(Unranked.OVER_BUDGET,), training_seconds=330.0)
    state = known(
        (START, results(START, 2.0)), (theirs, results(theirs, 2.0)), (mine, []), (in_vain, [late]), (new, [])
    )
    found = [one.as_json() for one in open_alike(state, new)]
    assert [(one["id"], one["by"], one["is_own"], one["state"]) for one in found] == [
        (theirs.id, "a", False, "not decided"), (mine.id, "b", True, "not run"),
    ]  # fmt: skip
    assert [one.said.split(")")[0] for one in open_alike(state, new)] == [
        f"idea {theirs.id} ('x = 3', of a", f"idea {mine.id} ('x = 4', of b, your account",
    ]  # fmt: skip


@pytest.mark.usefixtures("workplace")
def test_nobody_knows_the_seeds_of_an_idea_before_it_is_in_the_book_and_then_they_stay(monkeypatch):
    """Else candidates are run off the record, on the seeds that they will get, and what has luck is submitted."""
    drawn = iter(f"{number:016x}" for number in range(1, 9))
    monkeypatch.setattr("services.console.proposals.new_nonce", lambda: next(drawn))
    first, trial = proposal(2.0, "a start", parent="none")
    again, _ = proposal(2.0, "the same by somebody else", parent="none")
    assert first.seed(0) != seed_of(first.id, 0)
    assert again.seed(0) == first.seed(0) == arguments(again, trial, 0)["seed"]
    Here().append(Proposal(idea=first.model_copy(update={"nonce": "f" * 16})))
    assert Here().known().ideas[first.id].seed(0) == first.seed(0)


def test_an_idea_of_an_older_book_keeps_its_seeds():
    assert [START.seed(index) for index in range(3)] == [seed_of(START.id, index) for index in range(3)]
