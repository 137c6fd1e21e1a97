"""What may call itself an ablation, and so be kept for being no worse: the best recipe without one of its ideas."""

import pytest

from shared.files import sha256_bytes
from shared.research import ablation
from shared.research.book import Proposal
from shared.research.idea import propose
from shared.research.known import no_recipe, read_known
from shared.research.noise import Noise
from shared.research.rule import Verdict

BASE = b"first = 1\n\n\n\nsecond = 1\n"
ONE = BASE.replace(b"first = 1", b"first = 2")
BEST = ONE.replace(b"second = 1", b"second = 2")
WITHOUT = BASE.replace(b"second = 1", b"second = 2")
RECIPES = {sha256_bytes(source): source for source in (BASE, ONE, BEST, WITHOUT)}

START = propose(BASE)
FIRST = propose(ONE, START, BASE, settings={"depth": "3"})
SECOND = propose(BEST, FIRST, ONE, settings={"depth": "3", "heads": "2"})
BESIDE = propose(BEST + b"x = 1\n", START, BASE)


def recipe(recipe_sha: str) -> bytes:
    if recipe_sha not in RECIPES:
        raise ValueError("there is none")
    return RECIPES[recipe_sha]


def kind_of(source: bytes = WITHOUT, parent=SECOND, recipe=recipe, **changes) -> str:
    values = {"without": FIRST.id, "settings": {"heads": "2"}} | changes
    idea = propose(source, parent, BEST, **values)
    entries = [Proposal(idea=one) for one in (START, FIRST, SECOND, BESIDE, idea)]
    return read_known(entries, {}, recipe, believe_missing=False).ideas[idea.id].kind


def test_the_best_without_an_idea_that_it_was_made_of_is_an_ablation():
    assert kind_of() == "ablation"
    made = ablation.taken_out(SECOND, FIRST, START, recipe)
    assert made == (WITHOUT, {"heads": "2"})


@pytest.mark.parametrize(
    "changes",
    [
        {"source": WITHOUT + b"x = 1\n"},
        {"settings": {"heads": "2", "depth": "3"}},
        {"preset": "m5-small"},
        {"without": SECOND.id},
        {"without": BESIDE.id},
        {"without": START.id},
        {"without": "i0123456789"},
        {"parent": FIRST},
    ],
)
def test_whatever_else_is_called_an_ablation_is_judged_as_a_change(changes):
    assert kind_of(**changes) == "change"


def test_an_ablation_whose_recipes_are_gone_is_judged_as_a_change():
    assert kind_of(recipe=no_recipe) == "change"


WITH_IT, WITHOUT_IT = [1.980, 1.983, 1.978], [2.001, 1.997, 2.003, 2.000]


@pytest.mark.parametrize("sigma", [0.004, 0.05, 1.0])
def test_what_the_runs_themselves_show_to_be_missed_stays_however_large_sigma_is_said_to_be(sigma):
    assert ablation.decide(WITHOUT_IT, WITH_IT, Noise(sigma, 8, "")).verdict is Verdict.DISCARD


def test_what_nobody_misses_is_dropped():
    same = [1.981, 1.979, 1.983, 1.977]
    assert ablation.decide(same, WITH_IT, Noise(0.004, 8, "")).verdict is Verdict.KEEP


def test_runs_that_do_not_differ_at_all_show_any_loss():
    assert ablation.decide([2.0] * 4, [1.99] * 3, Noise(0.05, 8, "")).verdict is Verdict.DISCARD
    assert ablation.decide([2.0] * 4, [2.0] * 3, Noise(0.05, 8, "")).verdict is Verdict.KEEP
