"""How an idea comes into the book."""

import pytest

from services.console.proposals import register
from services.console.research import Here
from shared.runs.shipped import default_recipe
from tests.ideas import RECIPE

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
