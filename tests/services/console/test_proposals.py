"""How an idea comes into the book."""

import pytest

from services.console.proposals import register
from services.console.research import Here
from tests.ideas import RECIPE

SOURCE = RECIPE.format(quality=2.0).encode()


@pytest.mark.usefixtures("workplace")
def test_who_names_the_time_that_is_the_default_asks_for_the_same_runs_as_who_does_not():
    asked = [{"dataset": "words"}, {"dataset": "words", "time_budget": 300.0}]
    trials = [register(Here(), SOURCE, engine="torch", target="cpu", asked=one, parent="none")[1] for one in asked]
    assert trials[0].job_id(0) == trials[1].job_id(0)
