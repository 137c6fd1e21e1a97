"""A sweep from its file to its report: what is asked, what is tried, what survives kills."""

import json
import time
import tomllib

import pytest

from shared.contracts import IdeaRef, Status, Unranked
from shared.files import sha256_bytes
from shared.sweep import night as loop
from shared.sweep.constants import marked, with_constants
from shared.sweep.folder import Header, Run, SweepFolder
from shared.sweep.night import Entry, Experiment, Finished, Night
from shared.sweep.plan import Plan, Point, read_plan
from shared.sweep.proposals import Searched, as_point, distributions
from shared.sweep.report import append_results, best_of, write_report
from tests.shared.tracking.finished_runs import make_result

RECIPE = b"""# a recipe
MATRIX_LR = 0.04  # sweep: Muon's
STEPS = 5  # sweep
FINAL = -1.5e-3  # sweep
WARMUP = 0.1  # of the budget; no sweep
BETAS = (0.8, 0.95)  # sweep

def build(shape, vocab_size, seed, device):
    LOCAL = 3  # sweep
"""
LISTED = Plan(points=(Point(set={"depth": "2"}), Point(set={"depth": "8"}), Point(constants={"MATRIX_LR": 0.02})))
SEARCHED = Plan.model_validate(
    {"space": {"set": {"depth": [2, 4]}, "constants": {"MATRIX_LR": {"low": 0.01, "high": 0.1, "log": True}}}}
)


class Scored:
    """A place that answers at once: a number by what was asked, or a failure."""

    slots = 1

    def __init__(self, die_at: int | None = None):
        self.asked: list[Experiment] = []
        self.waiting: list[Experiment] = []
        self.die_at = die_at

    def begin(self, experiment):
        self.waiting.append(experiment)

    def collect(self):
        experiment = self.waiting.pop(0)
        if len(self.asked) == self.die_at:
            raise KeyboardInterrupt
        self.asked.append(experiment)
        return [self.answer(experiment)]

    def answer(self, experiment):
        depth = int(experiment.request.set.get("depth", 4))
        rate = marked(experiment.source)["MATRIX_LR"].value
        if depth == 8:
            failed = make_result(experiment.run_id, None, Status.OUT_OF_MEMORY, "shape too large")
            return Finished(experiment.run_id, failed, "shape too large")
        score = 1.5 - 0.01 * depth + abs(rate - 0.025) + 0.001 * (experiment.request.seed - 42)
        return Finished(experiment.run_id, make_result(experiment.run_id, score, seed=experiment.request.seed))


class Registered:
    """Names that follow from the point, as in the book."""

    def __init__(self, seeds):
        self.seeds = seeds

    def enter(self, point, source):
        idea = f"i{sha256_bytes(f'{point}'.encode() + source)[:10]}"
        runs = (Run(run_id=f"{idea}-{index}", seed=42 + index) for index in range(self.seeds))
        return Entry(IdeaRef(id=idea, note=str(point)), tuple(runs))


def a_night(tmp_path, plan, place, hours=8.0, tag="t"):
    folder = SweepFolder(tmp_path / "overnight" / tag)
    header = folder.header()
    if header is None:
        header = Header(tag=tag, plan=plan, recipe_sha=sha256_bytes(RECIPE), began_at=time.time())
        folder.create(header, RECIPE)
    told = []
    ends_at = header.began_at + 3600 * hours
    made = Night(folder, header, place, Registered(plan.seeds), ends_at, lambda begun, ended: told.append(ended))
    made.told = told
    return made


def to_the_end(tmp_path, plan, **options):
    made = a_night(tmp_path, plan, Scored(), **options)
    made.run()
    return made


# constants


def test_only_marked_numbers_at_the_top_level_are_constants():
    assert {name: constant.value for name, constant in marked(RECIPE).items()} == {
        "MATRIX_LR": 0.04, "STEPS": 5, "FINAL": -1.5e-3,
    }  # fmt: skip


def test_a_constant_is_changed_in_the_text_and_nothing_else_is():
    changed = with_constants(RECIPE, {"MATRIX_LR": 0.02, "FINAL": 1, "STEPS": 7})
    expected = RECIPE.replace(b"0.04 ", b"0.02 ").replace(b"-1.5e-3", b"1.0").replace(b"STEPS = 5", b"STEPS = 7")
    assert changed == expected
    assert with_constants(RECIPE, {}) == RECIPE


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"WARMUP": 0.2}, "WARMUP is not marked"),
        ({"LOCAL": 4}, "marked are MATRIX_LR, STEPS, FINAL"),
        ({"STEPS": 5.5}, "give a whole number instead of 5.5"),
        ({"MATRIX_LR": "0.1; import os"}, "give a number instead of"),
    ],
)
def test_a_constant_that_cannot_be_changed_is_one_line(values, said):
    with pytest.raises(ValueError, match=r"^constant ") as caught:
        with_constants(RECIPE, values)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# the file


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("points = [", "is no TOML"),
        ("time_budget = 60", "either [[points]] or"),
        ("budget = 60\n[[points]]\nset = {depth = 2}", "budget"),
        ("[space.set]\ndepth = {low = 6, high = 2}", "low 6 must be below high 2"),
        ("[space.set]\ndepth = {low = 0, high = 2, log = true}", "starts above 0"),
        ("[space.set]\ndepth = []", "depth has no values"),
        ("[space]", "the space is empty"),
        ('rung = "smoke"\n[[points]]\nset = {depth = 2}', "rung"),
        ('target = "cpu"\ndevice = "cpu"\n[[points]]\nset = {depth = 2}', "the worker's choice"),
    ],
)
def test_a_sweep_file_with_an_error_is_one_line_that_names_it(tmp_path, content, said):
    path = tmp_path / "sweep.toml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"sweep\.toml") as caught:
        read_plan(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_sweep_file_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="is missing: name a sweep file"):
        read_plan(tmp_path / "none.toml")


def test_numbers_and_switches_of_a_file_become_what_set_takes():
    plan = Plan.model_validate(tomllib.loads("[set]\ndepth = 4\ncompile = true\n[[points]]\nset = {d_model = 256}"))
    assert (plan.set, plan.points[0].set) == ({"depth": "4", "compile": "on"}, {"d_model": "256"})


# the loop


def test_the_base_comes_first_and_a_lower_mean_is_kept(tmp_path):
    done = to_the_end(tmp_path, LISTED)
    assert [(end.number, end.verdict) for end in done.told] == [(0, "keep"), (1, "discard"), (2, "crash"), (3, "keep")]
    assert done.exhausted
    assert best_of(done.ended).number == 3
    assert done.ended[2].reason == "out_of_memory: shape too large"


def test_seeds_are_run_for_each_point_and_their_mean_decides(tmp_path):
    done = to_the_end(tmp_path, LISTED.model_copy(update={"seeds": 3}))
    assert done.ended[0].val_bpb == pytest.approx(1.5 - 0.04 + 0.015 + 0.001)
    assert [run.seed for run in done.begun[1].runs] == [42, 43, 44]


def test_a_search_proposes_from_its_space_and_finds_the_better_half(tmp_path):
    plan = SEARCHED.model_copy(update={"time_budget": 1.0})
    night = a_night(tmp_path, plan, Scored())
    night.tell = lambda begun, ended: setattr(night, "exhausted", len(night.ended) >= 25)
    night.run()
    assert len(night.ended) == 25
    values = [marked(night.folder.recipe(begun.recipe_sha))["MATRIX_LR"].value for begun in night.begun.values()]
    assert all(0.01 <= value <= 0.1 for value in values)
    assert best_of(night.ended).val_bpb < night.ended[0].val_bpb - 0.005
    assert night.begun[best_of(night.ended).number].point.set == {"depth": "4"}


@pytest.mark.parametrize("plan", [LISTED, SEARCHED], ids=["list", "search"])
def test_a_sweep_that_was_killed_goes_on_and_runs_nothing_twice(tmp_path, plan):
    place, ids = Scored(die_at=2), []
    with pytest.raises(KeyboardInterrupt):
        a_night(tmp_path, plan, place).run()
    ids += [experiment.run_id for experiment in place.asked]
    # as a kill leaves it: half a line in the log
    with open(tmp_path / "overnight" / "t" / "log.jsonl", "a") as log:
        log.write('{"event": "begun", "numb')
    second = Scored()
    night = a_night(tmp_path, plan, second)
    assert len(night.ended) == 2
    night.tell = lambda begun, ended: setattr(night, "exhausted", len(night.ended) >= 4)
    night.run()
    ids += [experiment.run_id for experiment in second.asked]
    assert ids == [begun.runs[0].run_id for begun in night.begun.values()]
    assert len(set(ids)) == 4
    assert all(experiment.request.idea == night.begun[number].idea for number, experiment in enumerate(second.asked, 2))


def test_a_space_with_few_points_is_tried_once_and_then_exhausted(tmp_path):
    plan = Plan.model_validate({"space": {"set": {"depth": [2, 3, 8]}}})
    night = to_the_end(tmp_path, plan)
    assert night.exhausted
    assert sorted(str(begun.point) for begun in night.begun.values()) == [
        "depth=2", "depth=3", "depth=8", "the base, unchanged",
    ]  # fmt: skip


def test_a_trial_that_was_proposed_and_never_begun_is_given_up_and_an_end_that_was_not_told_is_told(tmp_path):
    night = a_night(tmp_path, SEARCHED, Scored())
    told = night.proposals.tell
    night.proposals.tell = lambda begun, ended: None if ended.number == 1 else told(begun, ended)
    night.tell = lambda begun, ended: setattr(night, "exhausted", len(night.ended) >= 3)
    night.run()
    night.proposals.study.ask(distributions(SEARCHED.space))
    again = a_night(tmp_path, SEARCHED, Scored())
    again.ends_at = 0.0
    again.run()
    states = [str(trial.state.name) for trial in again.proposals.study.get_trials()]
    assert states == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_point_without_a_number_is_told_as_bad_and_not_as_nothing(tmp_path):
    night = to_the_end(tmp_path, Plan.model_validate({"space": {"set": {"depth": [2, 8, 3, 5]}}}))
    trials = night.proposals.study.get_trials()
    failed = [trial.value for trial in trials if trial.params["set.depth"] == 8 and trial.value is not None]
    scores = [end.val_bpb for end in night.ended.values() if end.val_bpb is not None]
    assert failed
    assert all(min(scores) < value <= max(scores) for value in failed)


def test_no_point_is_begun_that_would_end_too_late(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(loop.time, "time", lambda: now[0])
    place = Scored()
    night = a_night(tmp_path, LISTED, place)
    night.ends_at = 1000.0 + 500
    night.tell = lambda begun, ended: now.__setitem__(0, now[0] + ended.total_seconds)
    night.run()
    assert len(place.asked) == 1  # 318 s each: a second one would end after 636 s
    assert not night.exhausted


def test_a_base_without_a_number_ends_the_sweep_with_its_reason(tmp_path):
    plan = LISTED.model_copy(update={"set": {"depth": "8"}})
    with pytest.raises(ValueError, match=r"the base has no number.*shape too large"):
        a_night(tmp_path, plan, Scored()).run()


class Disturbed(Scored):
    """Others use the machine during the first runs."""

    def __init__(self, times: int, **options):
        super().__init__(**options)
        self.times = times

    def answer(self, experiment):
        finished = super().answer(experiment)
        if len(self.asked) > self.times:
            return finished
        busy = {"ranked": False, "unranked": (Unranked.BUSY_MACHINE,)}
        return Finished(finished.run_id, finished.result.model_copy(update=busy))


def test_a_run_that_others_disturbed_is_made_again_under_the_name_that_decide_gives_it(tmp_path):
    place = Disturbed(times=2)
    night = a_night(tmp_path, LISTED, place)
    night.run()
    first, *again = [experiment.run_id for experiment in place.asked[:3]]
    assert again == [f"{first}-r1", f"{first}-r2"]
    assert {experiment.request.seed for experiment in place.asked[:3]} == {42}
    assert [end.verdict for end in night.told] == ["keep", "discard", "crash", "keep"]
    assert night.begun[0].runs[0].run_id == night.ended[0].results[0].run_id == again[1]


def test_a_sweep_that_was_killed_between_two_tries_goes_on_with_the_later_one(tmp_path):
    place = Disturbed(times=1, die_at=1)
    with pytest.raises(KeyboardInterrupt):
        a_night(tmp_path, LISTED, place).run()
    second = Scored()
    a_night(tmp_path, LISTED, second).run()
    assert second.asked[0].run_id == f"{place.asked[0].run_id}-r1"


def test_a_recipe_that_is_always_disturbed_is_tried_three_times_and_then_has_no_number(tmp_path):
    place = Disturbed(times=99)
    with pytest.raises(ValueError, match=r"the base has no number.*not ranked: busy_machine.*another --tag"):
        a_night(tmp_path, LISTED, place).run()
    assert len(place.asked) == 3
    with pytest.raises(ValueError, match="the base has no number"):
        a_night(tmp_path, LISTED, place).run()
    assert len(place.asked) == 3


def test_nothing_is_made_again_that_would_end_too_late(tmp_path):
    place = Disturbed(times=99)
    night = a_night(tmp_path, LISTED, place)
    ask = place.begin
    place.begin = lambda experiment: (ask(experiment), setattr(night, "ends_at", 0.0))
    with pytest.raises(ValueError, match="the base has no number"):
        night.run()
    assert len(place.asked) == 1


def test_what_is_not_ranked_is_never_kept(tmp_path):
    class Demo(Scored):
        def answer(self, experiment):
            finished = super().answer(experiment)
            demo = {"ranked": False, "unranked": (Unranked.DEMO_CORPUS,)}
            return Finished(finished.run_id, finished.result.model_copy(update=demo))

    night = a_night(tmp_path, Plan(points=(Point(set={"depth": "2"}),)), Demo())
    night.run()
    assert {end.verdict for end in night.ended.values()} == {"unranked"}
    assert best_of(night.ended) is None
    assert night.ended[0].val_bpb is not None


def test_points_of_a_space_are_read_back_from_its_parameters():
    point = as_point({"set.depth": 4, "constants.MATRIX_LR": 0.02})
    assert (point.set, point.constants) == ({"depth": "4"}, {"MATRIX_LR": 0.02})


# what it leaves


def test_the_report_names_the_best_and_its_recipe_can_be_run(tmp_path):
    night = to_the_end(tmp_path, LISTED)
    write_report(night.folder, night.header, night.begun, night.ended, None)
    text = (night.folder.path / "report.md").read_text()
    assert "Best: val_bpb" in text
    assert "with MATRIX_LR=0.02" in text
    assert text.count("\n| ") == 5  # the head and four points
    best = night.folder.path / "best"
    assert marked((best / "recipe.py").read_bytes())["MATRIX_LR"].value == 0.02
    assert json.loads((best / "settings.json").read_text())["runs"] == [night.begun[3].runs[0].run_id]
    assert (night.folder.path / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_every_run_is_a_line_of_results_once(tmp_path):
    night = to_the_end(tmp_path, LISTED)
    path = tmp_path / "results.tsv"
    for _ in range(2):
        for number, ended in night.ended.items():
            append_results(path, "t", night.begun[number].point, ended)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert lines[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [line[3] for line in lines[1:]] == ["keep", "discard", "crash", "keep"]
    assert lines[3][1:3] == ["0.000000", "0.0"]


def test_two_processes_do_not_work_on_one_sweep(tmp_path):
    folder = SweepFolder(tmp_path / "t")
    with folder.locked(), pytest.raises(ValueError, match="is in use"), SweepFolder(tmp_path / "t").locked():
        pass


def test_a_search_with_a_damaged_journal_says_so_and_goes_on(tmp_path):
    journal = tmp_path / "study.journal"
    journal.write_text("no journal\n")
    assert "is now study.damaged" in Searched(SEARCHED.space, journal, "t").note
