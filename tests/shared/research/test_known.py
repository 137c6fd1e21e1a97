"""The book read by somebody who does not trust whoever wrote in it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.contracts import Choice, DatasetRef, Rung, Unranked
from shared.experiment.platform_default import NoiseFloor, PlatformDefault
from shared.research import judge as judging
from shared.research.book import FleetBook, LocalBook, Proposal, Ruling, Trial
from shared.research.comparable import MOST_AGAIN, MOST_AGAIN_SHIPPED, most_again
from shared.research.doubt import doubts
from shared.research.history import rows
from shared.research.idea import propose
from shared.research.judge import judge
from shared.research.known import read_known
from shared.research.noise import is_denied
from shared.research.rule import Verdict
from shared.runs import shipped
from tests.fleet import RedisServer
from tests.platform_defaults import calibrated
from tests.shared.research.makers import KEY, SHAPE, START, idea, known, recipe, result, results

GOOD = idea("better = 1")
RIVAL = idea("rival = 1")
NOISE = {"sigma": 0.001, "sigma_seeds": 8}


@pytest.fixture(params=["local", "fleet"])
def book(request, tmp_path):
    if request.param == "local":
        yield LocalBook(tmp_path / "research")
        return
    server = RedisServer(tmp_path / "redis")
    yield FleetBook(server.connection)
    server.kill()


def ruling(verdict=Verdict.KEEP, **changes) -> Ruling:
    values = dict(
        idea=GOOD.id, key=KEY, verdict=verdict, reason="said so", published=1.99, made_at=datetime.now(UTC),
        runs=(f"{GOOD.id}-0", f"{GOOD.id}-1"), pool=(f"{START.id}-0", f"{START.id}-1"), **NOISE,
    )  # fmt: skip
    return Ruling(**values | changes)


def kept(*rulings, good=(1.99, 1.99 + 1e-4), base=(2.0, 2.0)):
    return known((START, results(START, *base)), (GOOD, results(GOOD, *good)), rulings=rulings)


def test_both_books_keep_entries_in_order_and_recipes_under_their_hash(book):
    entries = [Proposal(idea=START), Trial(idea=START.id, target="cpu", asked={"time_budget": 1.0}), ruling()]
    for entry in entries:
        book.append(entry)
    book.put_recipe(recipe())
    assert list(book.entries()) == entries
    assert book.recipe(START.recipe_sha) == recipe()
    with pytest.raises(ValueError, match="never stored"):
        book.recipe("a" * 64)


def test_a_torn_line_costs_no_other(tmp_path):
    book = LocalBook(tmp_path)
    book.append(Proposal(idea=START))
    with open(book.file, "ab") as file:
        file.write(b'{"what": "idea", "idea"')
    book.append(Proposal(idea=GOOD))
    assert [entry.idea.id for entry in book.entries()] == [START.id, GOOD.id]


def test_a_keep_that_its_runs_bear_out_counts():
    found = kept(ruling(published=1.99 + 1e-4))
    assert found.best(KEY) == (GOOD, 1.99 + 1e-4)


@pytest.mark.parametrize(
    "claim",
    [
        {"published": 1.5},
        {"runs": (f"{GOOD.id}-1",)},
        {"runs": (f"{GOOD.id}-0", "elsewhere")},
        {"pool": ("nothing",)},
        {"sigma": None},
        {"key": KEY.model_copy(update={"hardware_key": "other"})},
    ],
)
def test_a_keep_that_its_runs_do_not_bear_out_counts_for_nothing(claim):
    found = kept(ruling(**{"published": 1.99 + 1e-4} | claim))
    assert found.best(KEY) == (START, 2.0)
    assert len(found.unproved) == 1


GUESSED = {"runs": (f"{GOOD.id}-0", f"{GOOD.id}-1"), "pool": tuple(f"{START.id}-{n}" for n in range(3))}


@pytest.mark.parametrize(("sigma", "believed"), [(1e-6, False), (1e-3, True)])
def test_a_keep_by_a_noise_that_the_pool_denies_counts_for_nothing(sigma, believed):
    """Any luck is certain where nothing varies."""
    claim = ruling(**GUESSED, published=1.9965, sigma=sigma, sigma_seeds=1000)
    found = kept(claim, good=(1.996, 1.9965), base=(2.0, 1.999, 2.001))
    assert (found.best(KEY)[0] == GOOD) == believed


@pytest.mark.parametrize(
    ("runs", "pool", "believed"),
    [
        ((0, 1), (0, 1), True),
        ((1, 2), (0, 1), False),
        ((0, 1), (1, 2), False),
        ((0, 2), (0, 1, 2), False),
    ],
)
def test_a_keep_that_leaves_a_run_out_counts_for_nothing(runs, pool, believed):
    """Seeds are run in their order: a run before the last one that is named was seen, and was not wanted."""
    names = {"runs": tuple(f"{GOOD.id}-{n}" for n in runs), "pool": tuple(f"{START.id}-{n}" for n in pool)}
    good = (1.99, 1.9902, 1.9903)
    claim = ruling(**names, published=good[runs[1]])
    assert (kept(claim, good=good, base=(2.0, 2.0, 2.0005)).best(KEY)[0] == GOOD) == believed


def test_the_first_of_two_verdicts_counts():
    dropped = ruling(Verdict.DISCARD, published=None)
    found = kept(dropped, ruling(published=1.99 + 1e-4))
    assert found.rulings[GOOD.id, KEY] == dropped


@pytest.mark.parametrize(("sigma", "which"), [(0.01, 1), (0.0005, 0)])
def test_a_keep_may_be_kept_again_by_a_larger_noise_alone(sigma, which):
    """By a smaller one, somebody could choose which run is published."""
    both = [ruling(published=1.9701), ruling(published=1.9701, sigma=sigma)]
    found = kept(*both, good=(1.97, 1.9701))
    assert found.rulings[GOOD.id, KEY] == both[which]
    assert found.line(KEY) == [START, GOOD]


def noisy(sigma: float) -> PlatformDefault:
    about = {"low": sigma / 2, "high": sigma * 2, "num_seeds": 8, "budget_seconds": 20.0, "weak": False}
    noise = NoiseFloor(sigma=sigma, rung=Rung.CHEAP, run_ids=(), **about)
    dataset = DatasetRef(name="words", fingerprint=KEY.dataset)
    return calibrated(shape=SHAPE, noise=noise, dataset=dataset, eval_signature=KEY.eval_signature)


def test_a_keep_is_doubted_when_the_noise_has_grown():
    state = kept(ruling(published=1.99 + 1e-4))
    assert doubts(state, KEY, noisy(0.001)) == []
    assert doubts(state, KEY, None) == [], "nothing is known"
    (one,) = doubts(state, KEY, noisy(0.01))
    assert (one.idea, one.sigma_then, one.noise.sigma) == (GOOD, 0.001, 0.01)
    assert one.command == f"autoresearch decide {GOOD.id} --again --wait"


def test_a_doubted_keep_below_the_best_is_tried_by_taking_it_out():
    later = idea("later = 1", parent=GOOD)
    second = ruling(
        idea=later.id, published=1.8, runs=(f"{later.id}-0", f"{later.id}-1"), pool=(f"{GOOD.id}-0", f"{GOOD.id}-1")
    )
    pairs = [(START, results(START, 2.0, 2.0)), (GOOD, results(GOOD, 1.99, 1.9901)), (later, results(later, 1.81, 1.8))]
    state = known(*pairs, rulings=(ruling(published=1.9901), second))
    (one,) = doubts(state, KEY, noisy(0.01))
    assert (one.idea, one.is_best, one.command) == (GOOD, False, "autoresearch prune --wait")


def test_an_idea_under_a_name_that_is_not_its_own_is_not_read():
    forged = GOOD.model_copy(update={"id": START.id})
    orphan = idea("orphan = 1", parent=propose(recipe("unknown = 1")))
    found = read_known([Proposal(idea=forged), Proposal(idea=orphan)], {}, believe_missing=False)
    assert found.ideas == {}


def test_a_second_start_does_not_become_the_best_by_a_lucky_run():
    lucky = propose(recipe("lucky = 1"), note="another start")
    found = known((START, results(START, 2.0)), (lucky, results(lucky, 1.5)))
    assert found.best(KEY) == (START, 2.0)


def two_on_the_start(second: Ruling | None = None):
    """GOOD became the best; RIVAL was proposed beside it, before that was known."""
    entries = [ruling(published=1.99 + 1e-4), *([second] if second else [])]
    rival = results(RIVAL, 1.9895, 1.9899)
    return known(
        (START, results(START, 2.0, 2.0)), (GOOD, results(GOOD, 1.99, 1.99 + 1e-4)), (RIVAL, rival), rulings=entries
    )


def test_an_idea_is_held_against_the_best_where_that_has_moved_on():
    state = two_on_the_start()
    found = judge(state, RIVAL, KEY, None)
    assert found.against == GOOD
    assert "the best by now" in found.decision.reason
    assert state.line(KEY) == [START, GOOD]


def test_beating_an_old_parent_by_luck_makes_no_best():
    """Somebody who proposes everything against the start, and waits for a fresh run below the best."""
    easy = ruling(idea=RIVAL.id, published=1.9899, runs=(f"{RIVAL.id}-0", f"{RIVAL.id}-1"))
    state = two_on_the_start(easy)
    assert (RIVAL.id, KEY) in state.rulings
    assert state.best(KEY) == (GOOD, 1.99 + 1e-4)


def test_beating_an_idea_that_was_dropped_makes_no_best():
    weak = idea("weak = 1")
    child = propose(recipe("child = 1"), weak, recipe("weak = 1"))
    keep = ruling(idea=child.id, published=1.9, runs=(f"{child.id}-0", f"{child.id}-1"), pool=(f"{weak.id}-0",))
    state = known(
        (START, results(START, 2.0, 2.0)),
        (weak, results(weak, 2.5)),
        (child, results(child, 1.9004, 1.9)),
        rulings=[keep],
    )
    assert state.opponent(child, KEY) == weak
    assert state.best(KEY) == (START, 2.0)


def test_a_best_that_is_not_missed_gives_its_place_back():
    dropped = ruling(Verdict.DISCARD, pruned=True, published=None)
    state = two_on_the_start(dropped)
    assert state.best(KEY) == (START, 2.0)


def test_a_recipe_that_differs_in_comments_alone_has_a_twin():
    same = propose(
        b"# a comment\n" + recipe("better = 1").replace(b"    better", b"    '''why'''\n    better"), START, recipe()
    )
    assert same.id != GOOD.id
    assert known((START, []), (GOOD, [])).twin(same) == GOOD
    assert known((START, []), (GOOD, [])).twin(idea("worse = 1")) is None


def test_an_idea_is_judged_against_runs_of_its_own_key_alone():
    elsewhere = [result(START, index, 2.0, hardware_key="gpu") for index in range(4)]
    found = judge(known((START, elsewhere), (GOOD, results(GOOD, 1.5))), GOOD, KEY, None)
    assert found.decision.verdict is Verdict.UNDECIDED
    assert found.decision.parent_needs == 1
    assert "it ran on gpu torch, 300 s" in found.decision.reason


def test_a_machine_that_was_calibrated_in_between_is_not_compared_with_its_former_shape():
    former = SHAPE.model_copy(update={"depth": 6})
    base = [result(START, index, 2.0, shape=former) for index in range(4)]
    assert judge(known((START, base), (GOOD, results(GOOD, 1.5))), GOOD, KEY, None).pool.values == []


def test_an_idea_with_a_failed_run_is_dropped_however_good_the_others_are():
    found = judge(known((START, results(START, 2.0, 2.0)), (GOOD, results(GOOD, 1.5, None, 1.5))), GOOD, KEY, None)
    assert found.decision.verdict is Verdict.DISCARD
    assert "crashed" in found.decision.reason


def test_an_idea_that_only_failed_is_dropped_without_a_key():
    assert judge(known((START, []), (GOOD, results(GOOD, None))), GOOD, None, None).decision.verdict is Verdict.DISCARD


def test_without_noise_it_says_how_to_measure_it():
    found = judge(known((START, results(START, 2.0)), (GOOD, results(GOOD, 1.5))), GOOD, KEY, None)
    assert found.noise is None
    assert "autoresearch calibrate" in found.advice


def test_runs_of_the_shipped_recipe_measure_the_noise_and_those_of_changed_ones_do_not(monkeypatch):
    state = known((START, results(START, 2.0, 2.001, 2.002, 2.003)), (GOOD, results(GOOD, 1.5, 1.5)))
    assert judging.noise_at(state, KEY, None, state.evidence(START, KEY)) is None
    monkeypatch.setattr(shipped, "shipped_recipes", lambda: frozenset({START.recipe_sha}))
    noise = judging.noise_at(state, KEY, None, state.evidence(START, KEY))
    assert noise.num_seeds == 4
    assert noise.grows
    assert noise.sigma == pytest.approx(0.00129, abs=1e-5)


def test_a_shipped_recipe_with_an_unproved_kernel_measures_no_noise_and_is_tried_like_a_changed_one(monkeypatch):
    """Its author chooses what its runs differ by: sixteen equal ones would make the noise as small as one likes."""
    monkeypatch.setattr(shipped, "shipped_recipes", lambda: {START.recipe_sha})
    tricked = propose(recipe(), settings={"kernels": "fused_mlp=torch_unproved"})
    state = known((START, results(START, 2.0, 2.012, 1.99)), (tricked, results(tricked, *[2.0] * 16)))
    noise = judging.noise_at(state, KEY, None, state.evidence(START, KEY))
    assert (noise.num_seeds, noise.sigma) == (3, pytest.approx(0.0110, abs=1e-4))
    assert (most_again(START), most_again(tricked)) == (MOST_AGAIN_SHIPPED, MOST_AGAIN)


def test_runs_that_used_an_unproved_kernel_unasked_measure_no_noise(monkeypatch):
    monkeypatch.setattr(shipped, "shipped_recipes", lambda: {START.recipe_sha})
    used = (Choice(what="kernels", chosen="fused_mlp torch_unproved", reason="promoted"),)
    runs = [result(START, index, 2.0, choices=used) for index in range(4)]
    state = known((START, runs))
    assert judging.noise_at(state, KEY, None, state.evidence(START, KEY)) is None


def test_a_parent_whose_runs_deny_the_noise_makes_it_larger(monkeypatch):
    """A verdict by the smaller one would be written down, and believed by nobody."""
    monkeypatch.setattr(shipped, "shipped_recipes", lambda: {START.recipe_sha})
    quiet, loud = [2.0, 2.001, 1.999, 2.0005, 1.9995, 2.0], (1.99, 1.95, 1.99, 1.97)
    state = known((START, results(START, *quiet)), (GOOD, results(GOOD, *loud)))
    of_start = judging.noise_at(state, KEY, None, state.evidence(START, KEY))
    noise = judging.noise_at(state, KEY, None, state.evidence(GOOD, KEY))
    assert is_denied(of_start.sigma, of_start.num_seeds, loud)
    assert not is_denied(noise.sigma, noise.num_seeds, loud)
    assert noise.grows


def test_after_a_kept_idea_of_another_size_its_own_runs_measure_the_noise():
    larger = SHAPE.model_copy(update={"depth": 6})
    deep = idea("deep = 1", settings={"depth": "6"})
    runs = [result(deep, index, 1.99 + index / 1e4, shape=larger) for index in range(4)]
    claim = ruling(idea=deep.id, runs=(f"{deep.id}-0", f"{deep.id}-1"), published=runs[1].val_bpb)
    state = known((START, results(START, 2.0, 2.0)), (deep, runs), rulings=[claim])
    noise = judging.noise_at(state, KEY, None, state.evidence(deep, KEY))
    assert (noise.num_seeds, noise.grows) == (4, True)
    assert judging.noise_at(known((START, []), (deep, runs)), KEY, None, state.evidence(deep, KEY)) is None


def test_an_idea_whose_runs_are_on_the_demo_corpus_is_told_so():
    demo = result(GOOD, 0, 1.5, unranked=(Unranked.DEMO_CORPUS,))
    found = judge(known((START, []), (GOOD, [demo])), GOOD, None, None)
    assert "demo_corpus" in found.decision.reason
    assert "climbmix" in found.advice


@pytest.mark.parametrize(
    ("reason", "advice"), [(Unranked.OVER_BUDGET, "a longer --time-budget"), (Unranked.BUSY_MACHINE, "nothing else")]
)
def test_an_idea_whose_runs_do_not_count_is_told_what_to_do_about_it(reason, advice):
    state = known((START, []), (GOOD, [result(GOOD, 0, 1.5, unranked=(reason,))]))
    assert advice in judge(state, GOOD, None, None).advice
    assert {row.idea.id: row.state for row in rows(state, None)}[GOOD.id] == "no run counts"


def with_steps(mine: int, before: int, **changes):
    base = [result(START, index, value, num_steps=before) for index, value in enumerate((2.0, 2.001, 1.999))]
    return known((START, base), (GOOD, [result(GOOD, 0, 2.1, num_steps=mine, **changes)]))


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        (88, "its runs report 12% fewer steps (88 against 100): a step of it costs more, or the machine was slower"),
        (112, "its runs report 12% more steps (112 against 100): a step of it costs less, or the machine was faster"),
        (97, ""),
        (0, ""),
    ],
)
def test_notably_fewer_or_more_steps_are_said_and_decide_nothing(mine, said):
    judged = judge(with_steps(mine, 100), GOOD, KEY, None)
    alike = judge(with_steps(100, 100), GOOD, KEY, None)
    assert judged.decision == replace(alike.decision, reason=judged.decision.reason)
    assert judged.decision.reason.startswith(alike.decision.reason)
    assert ("steps" in judged.decision.reason) == bool(said)
    assert said in judged.decision.reason


def test_steps_of_another_shape_are_not_compared():
    """A larger batch makes fewer steps, which says nothing of the machine."""
    larger = SHAPE.model_copy(update={"total_batch_size": 2 * SHAPE.total_batch_size})
    assert "steps" not in judge(with_steps(50, 100, shape=larger), GOOD, KEY, None).decision.reason
