"""Ways to choose the runs by which an idea is judged, without a line of a book or a file being forged but where a test
says so. All of them got through once."""

from dataclasses import replace
from datetime import UTC, datetime
from statistics import fmean

import pytest

from services.console import verdicts
from services.console.research import Here
from shared.contracts import Rung
from shared.research.book import Proposal, Ruling, Trial
from shared.research.comparable import key_of
from shared.research.history import standings
from shared.research.judge import judge
from shared.research.known import Known, read_known
from shared.research.rule import Verdict
from shared.runs import shipped
from shared.runs.listing import list_runs
from shared.stages.executors import NativeExecutor
from shared.sweep.comparison import unlike
from shared.sweep.plan import Point
from tests import ideas
from tests.ideas import RECIPE, TERMS
from tests.shared.research.makers import KEY, SHAPE, START, idea, known, result, results
from tests.start_runs import measured_start

NEUTRAL = idea("neutral = 1")
NOISE = {"sigma": 0.001, "sigma_seeds": 8}


@pytest.fixture
def autoresearch(workplace, tmp_path, monkeypatch, capsys):
    ideas.alone(monkeypatch, tmp_path)
    ideas.fast_stages(monkeypatch)
    return ideas.typing(monkeypatch, capsys)


@pytest.fixture
def mine(tmp_path):
    """Arguments that train a recipe of this quality as an idea."""

    def arguments(quality: float, *more: str) -> list[str]:
        path = tmp_path / "mine.py"
        path.write_text(RECIPE.format(quality=quality))
        return ["train", "--recipe", str(path), "--note", "mine", *TERMS, *more]

    return arguments


def test_a_run_that_is_scored_again_on_another_rung_still_counts_on_its_first(autoresearch, mine):
    """A bad run is moved to another rung; `decide --wait` makes it again, on the same seed, as often as wanted."""
    measured_start()
    autoresearch(*mine(2.1))
    before = list_runs()[0]
    name = before.result.idea
    said = autoresearch("evaluate", str(before.path), "--rung", "reference", code=2)
    assert "that stands" in said.err
    told = Here().known()
    assert Rung.CHEAP in {key.rung for key in told.keys(told.ideas[name])}


def test_an_attempt_that_somebody_interrupts_is_one_of_three(autoresearch, mine, monkeypatch):
    """Ctrl-C at the sight of a bad loss, and the same command again: nothing counts how often."""
    measured_start()
    execute = NativeExecutor.execute

    def interrupted(self, stage, arguments, watch):
        execute(self, stage, arguments, watch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NativeExecutor, "execute", interrupted)
        for _ in range(4):
            autoresearch(*mine(2.1), code=None)
    assert "made 3 times" in autoresearch(*mine(2.1), code=None).err


@pytest.mark.parametrize("more", [("--set", f"depth=0{SHAPE.depth}"), ("--set", "compile=auto"), ("--set", "heads=+1")])
def test_the_same_recipe_with_its_settings_written_otherwise_is_the_same_idea(autoresearch, mine, more):
    """Another name has other seeds: another try, without a change of a byte of the recipe."""
    measured_start()
    autoresearch(*mine(2.1))
    first = list_runs()[0].job
    said = autoresearch(*mine(2.1, *more), code=None)
    second = list_runs()[0].job
    assert said.code == 2, f"{second.idea.id} trains what {first.idea.id} does: {second.shape == first.shape}"


def test_a_budget_that_differs_by_a_millionth_is_no_other_budget(autoresearch, mine):
    """It has another key, so another pool and another verdict, and is printed as the same."""
    measured_start()
    autoresearch(*mine(2.1))
    again = [*mine(2.1)]
    again[again.index("0.05")] = "0.05000001"
    assert autoresearch(*again, code=None).code == 2
    keys = [KEY, KEY.model_copy(update={"budget_seconds": 300.0004})]
    assert str(keys[0]) != str(keys[1])


def test_a_seed_that_was_run_on_another_machine_is_not_left_out_here():
    """Seeds are tried elsewhere first, and only the lucky ones here: the others leave no gap."""
    elsewhere = [result(NEUTRAL, index, hardware_key="other-machine") for index in range(6)]
    lucky = [result(NEUTRAL, index, 1.99 + index / 1e4, run_id=f"here-{index}") for index in (2, 5)]
    state = known((START, results(START, 2.0, 2.0, 2.0)), (NEUTRAL, [*elsewhere, *lucky]))
    assert state.evidence(NEUTRAL, KEY).values == []


def test_runs_of_the_parent_ask_for_what_its_own_runs_asked_for():
    """Terms that slow a run, and that the idea's own recipe gets round, are asked for the parent's runs too."""
    slow = {"time_budget": 300.0, "checkpoint_every": 0.05}
    entries = [Proposal(idea=START), Proposal(idea=NEUTRAL), Trial(idea=START.id, target="cpu", asked={})]
    entries.append(Trial(idea=NEUTRAL.id, target="cpu", asked=slow))
    runs = {START.id: results(START, 2.0), NEUTRAL.id: results(NEUTRAL, 1.998)}
    state = read_known(entries, runs, believe_missing=False)
    asked: list[Trial] = []
    place = Recorded(asked)
    judged = judge(state, NEUTRAL, KEY, None)
    judged = replace(judged, decision=replace(judged.decision, parent_needs=1))
    verdicts.make_runs(place, state, judged, None)
    assert "checkpoint_every" not in asked[-1].asked


def test_a_bad_run_of_an_idea_stays_on_record_when_room_is_made(autoresearch, mine):
    """Its directory is all that tells of it here; what is gone is made again, on the same seed, as often as wanted."""
    measured_start()
    autoresearch(*mine(2.1))
    name, before = list_runs()[0].result.idea, Here().known().results
    autoresearch("runs", "prune", "--whole", "--keep", "0")
    assert Here().known().results == before
    assert "was run" in autoresearch(*mine(2.1), code=2).err, name


@pytest.mark.parametrize(("mine", "parents"), [((1.998,), ()), ((1.998,), (2.0,))])
def test_the_rung_of_later_runs_is_not_left_to_what_the_recipe_says_of_itself(mine, parents):
    """`auto` goes by what scoring cost before, under the attention that the recipe's process names. It would name
    another one whenever it has bad luck, and the run, on another rung, be none of those that are compared, nor a try.
    """
    entries = [Proposal(idea=START), Proposal(idea=NEUTRAL)]
    entries += [Trial(idea=one.id, target="cpu", asked={"time_budget": 300.0}) for one in (START, NEUTRAL)]
    runs = {START.id: results(START, *parents), NEUTRAL.id: results(NEUTRAL, *mine)}
    state = read_known(entries, runs, believe_missing=False)
    asked: list[Trial] = []
    judged = judge(state, NEUTRAL, KEY, None)
    verdicts.make_runs(Recorded(asked), state, judged, None)
    assert asked[-1].asked == {"time_budget": 300.0, "rung": KEY.rung}


TUNED = {"attention": "auto", "compile": "on", "dtype": "auto", "kernels": ""}


def test_a_machine_that_is_calibrated_in_between_gives_an_idea_nothing():
    """It compiles from then on, and the idea's runs take more steps than those of its parent that were made before."""
    slow, fast = {**TUNED, "compile": "auto"}, TUNED
    before = [result(START, index, 2.0 + index / 1e4, tuning=slow) for index in range(3)]
    mine = [result(NEUTRAL, index, 1.9 + index / 1e4, tuning=fast) for index in range(2)]
    state = known((START, before), (NEUTRAL, mine))
    assert state.pool(START, KEY).values == [2.0, 2.0001, 2.0002]
    judged = judge(state, NEUTRAL, KEY, None)
    assert judged.pool.values == []
    assert "its parent's runs here have another shape or tuning" in judged.decision.reason
    again = [result(START, index, 1.9 + index / 1e4, tuning=fast, run_id=f"again-{index}") for index in range(3)]
    state = known((START, [*before, *again]), (NEUTRAL, mine))
    assert judge(state, NEUTRAL, KEY, None).pool.values == [1.9, 1.9001, 1.9002]
    assert state.pool(START, KEY).values == [2.0, 2.0001, 2.0002]


def test_a_point_of_a_sweep_is_not_held_against_a_base_that_did_not_compile():
    base = [result(START, 0, 2.0, tuning={**TUNED, "compile": "auto"})]
    mine = [result(NEUTRAL, 0, 1.9, tuning=TUNED)]
    assert "compile on instead of auto" in unlike(Point(), mine, base)
    assert not unlike(Point(set={"compile": "on"}), mine, base)


def test_a_kernel_that_is_promoted_in_between_gives_an_idea_nothing(autoresearch, mine, tmp_path, monkeypatch):
    """Its parent ran without it; one may also be taken back for the runs of a parent."""
    start = measured_start()
    here = list_runs()[0].result.hardware_key
    row = {"op": "rmsnorm", "hardware_key": here, "kernel": "torch_fast", "evidence": "e", "signature": "f" * 64}
    lines = ["[[promoted]]", *(f'{name} = "{value}"' for name, value in row.items())]
    monkeypatch.setattr(shipped, "PROMOTED", tmp_path / "promoted.toml")
    shipped.PROMOTED.write_text("\n".join(lines))
    autoresearch(*mine(1.5))
    result = list_runs()[0].result
    assert result.tuning["promoted"] == "rmsnorm=torch_fast"
    told = Here().known()
    assert told.pool(told.ideas[start], key_of(result), told.ideas[result.idea]).values == []


def test_an_idea_that_is_calibrated_for_in_between_goes_on_with_what_it_began_with():
    slow = {**TUNED, "compile": "auto"}
    runs = [result(NEUTRAL, 0, 2.0, tuning=slow), result(NEUTRAL, 1, 1.9, tuning=TUNED)]
    assert known((START, results(START, 2.0)), (NEUTRAL, runs)).evidence(NEUTRAL, KEY).values == [2.0]


def test_an_idea_may_compile_where_its_parent_does_not():
    compiles = idea("neutral = 1", settings={"compile": "on"})
    before = [result(START, index, 2.0, tuning={**TUNED, "compile": "auto"}) for index in range(3)]
    state = known((START, before), (compiles, [result(compiles, 0, 1.9, tuning=TUNED)]))
    assert len(judge(state, compiles, KEY, None).pool.values) == 3


class Recorded:
    is_fleet = False

    def __init__(self, asked: list[Trial]):
        self.asked = asked

    def append(self, *entries) -> None:
        pass

    def run(self, idea, trial, indices, timeout_s=None, hardware_key=None) -> None:
        self.asked.append(trial)


def test_a_parent_is_not_made_worse_by_running_its_seeds_again():
    """Of several results with one seed the worst counts, which is right for the idea, and its gain for the parent: with
    other terms, or on a machine that is a little busier, the pool rises as often as somebody wishes."""
    again = [result(START, index, 2.02 + index / 1e4, run_id=f"again-{index}") for index in range(3)]
    before = known((START, results(START, 2.0, 2.0001, 2.0002)), (NEUTRAL, []))
    after = known((START, [*results(START, 2.0, 2.0001, 2.0002), *again]), (NEUTRAL, []))
    assert after.evidence(START, KEY).values == before.evidence(START, KEY).values


def kept_as_an_ablation(*values: float) -> Known:
    best = idea("better = 1")
    any_other = idea("worse = 1", parent=best, without=best.id)
    runs = tuple(f"{any_other.id}-{index}" for index in range(4))
    common = dict(key=KEY, verdict=Verdict.KEEP, reason="said", made_at=datetime.now(UTC), **NOISE)
    keeps = [
        Ruling(idea=best.id, runs=(f"{best.id}-0", f"{best.id}-1"), pool=(f"{START.id}-0",), published=1.991, **common),
        Ruling(idea=any_other.id, runs=runs, pool=(f"{best.id}-0", f"{best.id}-1"),
               published=fmean(values), **common),
    ]  # fmt: skip
    pairs = ((START, results(START, 2.0)), (best, results(best, 1.99, 1.991)), (any_other, results(any_other, *values)))
    return known(*pairs, rulings=keeps)


def test_an_ablation_is_the_best_without_an_idea_and_nothing_else():
    """Whoever may append to the book calls any recipe an ablation: it is kept for being no worse than one sigma, and is
    the best from then on. (Its entry is forged; no command writes it.)"""
    best = kept_as_an_ablation(1.9908, 1.991, 1.9905, 1.9907).best(KEY)
    assert best is not None
    assert best[0].note == "better = 1"


def test_memory_that_a_recipe_reports_gives_it_no_place_in_the_standings():
    """RunResult.REPORTED: nothing is decided by what only the recipe's process says."""
    best, thin = idea("better = 1"), idea("thin = 1")
    common = dict(key=KEY, verdict=Verdict.KEEP, reason="said", made_at=datetime.now(UTC), **NOISE)
    pool = (f"{START.id}-0",)
    rulings = [
        Ruling(idea=one.id, runs=(f"{one.id}-0", f"{one.id}-1"), pool=pool, published=value + 0.001, **common)
        for one, value in ((best, 1.98), (thin, 1.99))
    ]
    runs = [(START, results(START, 2.0))]
    runs += [(best, [result(best, index, 1.98 + index / 1e3, peak_vram_mb=100.0) for index in range(2)])]
    runs += [(thin, [result(thin, index, 1.99 + index / 1e3, peak_vram_mb=0.001) for index in range(2)])]
    assert thin.id not in [row.idea.id for row in standings(known(*runs, rulings=rulings))]
