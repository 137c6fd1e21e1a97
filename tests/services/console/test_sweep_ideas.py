"""Points of a sweep in the book of ideas."""

import pytest

from services.console import sweep_ideas, sweep_queue, sweeping
from services.console.sweep_ideas import IdeaRegister
from shared.contracts import Integrity, Status, Unranked
from shared.data.dataset import default_dataset
from shared.evaluation.rungs import eval_signature
from shared.experiment.presets import find_preset
from shared.experiment.request import build_job
from shared.files import sha256_bytes
from shared.research.book import LocalBook, Proposal, Trial
from shared.research.known import read_known
from shared.runs.directory import RunDirectory, write_record
from shared.sweep.folder import Header, SweepFolder
from shared.sweep.night import Entry, request_of
from shared.sweep.plan import Plan, Point
from tests.recipes import HONEST
from tests.shared.tracking.finished_runs import make_result

BASE = HONEST.encode()
WIDE = Point(set={"depth": "3"})


@pytest.fixture
def register(workplace, tmp_path):
    def make(**plan) -> IdeaRegister:
        plan = Plan(points=(WIDE,), preset="m5-tiny", **plan)
        folder = SweepFolder(tmp_path / "sweep")
        header = Header(tag="t", plan=plan, recipe_sha=sha256_bytes(BASE), began_at=0.0)
        folder.create(header, BASE)
        return IdeaRegister(folder, header, "cpu")

    return make


TYPING_ERRORS = [
    {"points": ({"set": {"deptth": 3}},)},
    {"space": {"set": {"deptth": {"low": 1, "high": 3}}}},
    {"points": ({"set": {"depth": 3}},), "set": {"deptth": 2}},
]


@pytest.mark.parametrize("content", TYPING_ERRORS)
@pytest.mark.parametrize("where", [{"target": "cpu"}, {"dataset": "words"}], ids=["queue", "here"])
def test_a_key_that_no_run_can_be_set_is_told_before_anything_is_run(workplace, content, where):
    """Else the base would have a number, and every point of the night would crash."""
    with pytest.raises(ValueError, match="unknown key 'deptth'"):
        sweeping.check(Plan.model_validate({"preset": "m5-tiny", **where, **content}), BASE)


def test_a_point_that_changes_nothing_of_the_base_is_the_base(register):
    entered = register(seeds=2)
    same = Point(set={"depth": "02"})
    assert entered.enter(same, BASE) == entered.enter(Point(), BASE)


def test_a_point_is_an_idea_whose_parent_is_the_base_and_has_drawn_seeds(register):
    entered = register(seeds=2)
    base, point = entered.enter(Point(), BASE), entered.enter(WIDE, BASE)
    ideas = [entry.idea for entry in LocalBook().entries() if isinstance(entry, Proposal)]
    assert [idea.id for idea in ideas] == [base.idea.id, point.idea.id]
    assert (ideas[0].kind, ideas[1].parent, ideas[1].note) == ("start", base.idea.id, "sweep t: depth=3")
    assert len({run.seed for run in (*base.runs, *point.runs)}) == 4
    assert LocalBook().recipe(ideas[1].recipe_sha) == BASE


def test_the_same_point_has_the_same_runs_in_another_sweep(register):
    assert register().enter(WIDE, BASE).runs == register().enter(WIDE, BASE).runs


def ended(entry: Entry, point: Point, **changes) -> None:
    """Its first run, on the terms of today unless the test says otherwise."""
    run = entry.runs[0]
    plan = Plan(points=(WIDE,), preset="m5-tiny")
    job = build_job(request_of(plan, point, run.seed, entry.idea), BASE)[0].model_copy(update={"run_id": run.run_id})
    directory = RunDirectory.of(run.run_id)
    directory.create(job, BASE)
    failed = {"val_bpb": None, "unranked": (Unranked.NOT_OK,), "ranked": False} if "status" in changes else {}
    terms = {
        "recipe_sha": job.recipe_sha, "idea": entry.idea.id, "integrity": Integrity.FULL, "shape": job.shape,
        "engine": job.engine, "dataset": job.dataset.fingerprint, "hardware_key": job.hardware_key,
        "budget": job.budget, "eval_signature": eval_signature(),
    }  # fmt: skip
    result = make_result(run.run_id, seed=run.seed).model_copy(update=terms | failed | changes)
    write_record(directory.result_file, result)


def test_a_base_that_took_longer_than_its_budget_is_run_again(register):
    """Every point is held against it."""
    entered = register()
    late = {"unranked": (Unranked.OVER_BUDGET,), "ranked": False, "training_seconds": 310.0}
    ended(entered.enter(Point(), BASE), Point(), **late)
    assert entered.enter(Point(), BASE).runs[0].again == 1


def test_the_dataset_of_a_sweep_is_that_of_its_beginning(workplace, tmp_path):
    file = tmp_path / "sweep.toml"
    file.write_text('preset = "m5-tiny"\n[[points]]\nset = {depth = 3}\n')
    folder = SweepFolder(tmp_path / "sweep")
    header = sweeping.opened(folder, file, "t")
    assert header.plan.dataset is None
    assert header.asked.dataset == header.dataset == default_dataset()[0].ref.name
    assert sweeping.opened(folder, file, "t") == header


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({}, 0),
        ({"unranked": (Unranked.DEMO_CORPUS,), "ranked": False}, 0),
        ({"unranked": (Unranked.BUSY_MACHINE,), "ranked": False}, 1),
        ({"status": Status.CANCELLED}, 1),
        ({"status": Status.OUT_OF_MEMORY}, 0),
        ({"unranked": (Unranked.OVER_BUDGET,), "ranked": False, "training_seconds": 310.0}, 0),
        ({"shape": find_preset("m5-small").shape}, 1),
        ({"dataset": "e" * 64}, 1),
        ({"hardware_key": "another"}, 1),
        ({"eval_signature": "of another version"}, 1),
    ],
    ids=[
        "ranked", "demo corpus", "disturbed", "cancelled", "out of memory", "over its budget", "another shape",
        "another dataset", "another machine", "another evaluation",
    ],
)  # fmt: skip
def test_what_ended_before_is_the_answer_unless_it_says_nothing_of_the_point(register, changes, again):
    entered = register()
    entry = entered.enter(WIDE, BASE)
    ended(entry, WIDE, **changes)
    (run,) = entered.enter(WIDE, BASE).runs
    assert (run.again, run.seed) == (again, entry.runs[0].seed)
    assert run.run_id == entry.runs[0].run_id + ("-r1" if again else "")


def test_what_its_runs_ask_for_is_in_the_book(register):
    register(time_budget=60.0).enter(WIDE, BASE)
    (trial,) = [entry for entry in LocalBook().entries() if isinstance(entry, Trial)]
    assert (trial.target, trial.asked) == ("cpu", {"time_budget": 60.0, "rung": "reference"})


def test_a_hub_that_is_away_is_waited_for(register, monkeypatch):
    failures = [ValueError("no hub answers")]

    class Away:
        is_fleet = True

        def measured_nothing(self, *arguments):
            return False

        def put_recipe(self, source):
            if failures:
                raise failures.pop()

        def append(self, *entries):
            self.entries = entries

        def known(self):
            return read_known(getattr(self, "entries", ()), {}, believe_missing=False)

    monkeypatch.setattr(sweep_queue.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(sweep_ideas, "Fleet", Away)
    entered = register(target="cpu")
    assert entered.enter(WIDE, BASE).idea == entered.place.entries[1].idea.ref
    assert failures == []
