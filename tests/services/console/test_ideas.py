"""The research loop on a machine of its own: no hub, no MLflow, one directory."""

import json

import pytest

from services.console import briefing, sweep
from shared.contracts import Choice
from shared.data.dataset import Manifest
from shared.research import comparable
from shared.research import judge as judging
from shared.research.book import LocalBook, Proposal, Trial
from shared.research.comparable import LeftOut
from shared.runs.directory import RunDirectory
from shared.runs.listing import list_runs
from shared.settings import settings
from tests import ideas
from tests.ideas import RECIPE, TERMS
from tests.start_runs import make_start_runs, measured_start


@pytest.fixture
def autoresearch(workplace, tmp_path, monkeypatch, capsys):
    ideas.alone(monkeypatch, tmp_path)
    ideas.fast_stages(monkeypatch)
    return ideas.typing(monkeypatch, capsys)


@pytest.fixture
def recipe(tmp_path):
    def write(quality: float | str, extra: str = "") -> str:
        path = tmp_path / "mine.py"
        path.write_text(RECIPE.format(quality=quality) + extra)
        return str(path)

    return write


@pytest.fixture
def train(autoresearch, recipe):
    """Tests an idea once; its id."""

    def run(quality: float, note: str, *options: str, code: int | None = 0) -> str:
        autoresearch("train", "--recipe", recipe(quality), "--note", note, *TERMS, *options, code=code)
        entries = [entry for entry in LocalBook().entries() if isinstance(entry, Proposal)]
        return next(entry.idea.id for entry in reversed(entries) if entry.idea.note == note)

    return run


@pytest.fixture
def start(autoresearch):
    """The shipped recipe with the eight seeds that measure the noise, as `decide START --wait` would make them."""
    return measured_start()


def test_three_runs_of_the_start_measure_the_noise_and_five_more_where_somebody_asks_again(autoresearch):
    autoresearch("train", "--note", "baseline", *TERMS)
    name = next(entry.idea.id for entry in LocalBook().entries() if isinstance(entry, Proposal))
    assert autoresearch("decide", name, "--json").json["noise"] is None
    for count, more in ((3, 5), (8, 0)):
        said = autoresearch("decide", name, "--wait", "--json").json
        assert (len(said["runs"]), said["noise"]["num_seeds"], said["idea_needs"]) == (count, count, more)
        assert ("ideas need not wait" in said["advice"]) == ("weak" in said["reason"]) == (count < 8)
    assert name == measured_start()


def test_a_better_idea_is_kept_and_its_fresh_run_is_its_number(autoresearch, start, train):
    better = train(1.99, "a better one")
    undecided = autoresearch("decide", better, "--json", code=2).json
    assert undecided["idea_needs"] == 1
    kept = autoresearch("decide", better, "--wait", "--json").json
    assert (kept["verdict"], kept["parent"]) == ("keep", start)
    assert kept["published"] == kept["runs"][1]["val_bpb"]
    assert autoresearch("best", "--json").json["id"] == better
    assert autoresearch("decide", better, "--json").json["reason"].startswith("decided on")


def test_decide_and_history_show_the_steps_beside_val_bpb(autoresearch, train):
    autoresearch("train", "--note", "baseline", *TERMS)
    worse = train(2.5, "worse")
    said = autoresearch("decide", worse, "--json", code=1).json
    assert (said["num_steps"], said["parent_num_steps"], said["runs"][0]["num_steps"]) == (10, 10, 10)
    assert "steps    10 a run, 10 of its parent" in autoresearch("decide", worse, code=1).out
    assert "val_bpb   steps" in autoresearch("history").out


def test_when_the_time_is_over_no_further_run_is_begun_on_this_machine(autoresearch, start, train):
    better = train(1.99, "a better one")
    before = len(list_runs())
    said = autoresearch("decide", better, "--wait", "--timeout", "0", code=2)
    assert "the time is over before run 1 of" in said.err
    assert len(list_runs()) == before


def test_the_next_idea_is_compared_with_the_kept_one_and_a_worse_one_is_dropped_after_a_run(
    autoresearch, start, train, tmp_path
):
    better = train(1.99, "a better one")
    autoresearch("decide", better, "--wait")
    worse = train(1.995, "between the two")
    dropped = autoresearch("decide", worse, "--wait", "--json", code=1).json
    assert (dropped["parent"], dropped["num_runs"]) == (better, 1)
    file = tmp_path / "best.py"
    smoke = f"autoresearch train --recipe {file} --smoke --preset m5-tiny"
    assert smoke in autoresearch("best", "--recipe", str(file)).out
    assert autoresearch("best", "--recipe", str(file), "--json").json["smoke"] == smoke
    assert "QUALITY = 1.99\n" in (tmp_path / "best.py").read_text()
    assert "-QUALITY = 1.99\n+QUALITY = 1.995" in autoresearch("diff", worse).out


def test_an_idea_that_crashes_is_dropped(autoresearch, start, train):
    crashing = train("1.0\nCRASH = 1", "it crashes", code=1)
    assert "crashed" in autoresearch("decide", crashing, "--wait", code=1).out
    assert autoresearch("history", "--json").json[-1]["state"] == "crash"


def test_seeds_are_drawn_and_not_chosen(autoresearch, recipe):
    said = autoresearch("train", "--recipe", recipe(1.9), "--note", "lucky", "--seed", "7", *TERMS, code=2)
    assert "drawn" in said.err


def test_a_run_outside_the_book_is_no_evidence(autoresearch, start, train, recipe):
    better = train(1.99, "a better one")
    for seed in ("1", "2", "3"):
        autoresearch("train", "--recipe", recipe(1.99), "--seed", seed, *TERMS)
    assert len(autoresearch("decide", better, "--json", code=2).json["runs"]) == 1


def test_a_recipe_that_was_run_is_no_new_evidence(autoresearch, start, train, recipe):
    better = train(1.99, "a better one")
    again = autoresearch("train", "--recipe", recipe(1.99), "--note", "once more", *TERMS, code=2)
    assert better in again.err
    assert "no new evidence" in again.err
    disguised = recipe(1.99, "# another comment\n")
    assert "comments" in autoresearch("train", "--recipe", disguised, "--note", "new", *TERMS, code=2).err


def test_a_deleted_run_has_to_be_made_again_on_its_seed(autoresearch, start, train, workplace):
    import shutil

    better = train(1.99, "a better one")
    autoresearch("decide", better, "--wait")
    runs = autoresearch("decide", better, "--json").json["runs"]
    (workplace / "research" / "book.jsonl").write_text(
        "".join(
            line + "\n"
            for line in (workplace / "research" / "book.jsonl").read_text().splitlines()
            if '"ruling"' not in line
        )
    )
    shutil.rmtree(RunDirectory.of(runs[0]["run_id"]).path)
    found = autoresearch("decide", better, "--json", code=2).json
    assert found["runs"] == []
    again = autoresearch("decide", better, "--wait", "--json").json
    assert again["runs"][0]["seed"] == runs[0]["seed"]


def test_smoke_and_token_budgets_test_no_idea(autoresearch, recipe):
    mine = recipe(1.9)
    assert (
        "smoke" in autoresearch("train", "--recipe", mine, "--note", "x", "--smoke", "--dataset", "words", code=2).err
    )
    tokens = ["--preset", "m5-tiny", "--dataset", "words", "--tokens", "9999"]
    assert "token budget" in autoresearch("train", "--recipe", mine, "--note", "x", *tokens, code=2).err


def test_runs_that_do_not_count_are_not_made_for_ever(autoresearch, start, train, monkeypatch):
    """An over-budget run, for example, or one without a sandbox."""
    better = train(1.99, "a better one")
    monkeypatch.setattr(judging, "why_not_run", lambda idea, result: LeftOut.UNRANKED)
    monkeypatch.setattr(comparable, "why_not", lambda idea, result: LeftOut.UNRANKED)
    before = len(list_runs())
    said = autoresearch("decide", better, "--wait", "--json", code=2).json
    assert "unranked" in said["reason"]
    assert len(list_runs()) == before + 1


def test_a_recipe_that_makes_itself_unranked_does_not_choose_its_runs_here_either(autoresearch, start, recipe):
    mine = ["train", "--recipe", recipe(1.99, "OUTSIDE = 9\n"), "--note", "slow to load", *TERMS]
    for _ in range(3):
        assert "does not count for idea" in autoresearch(*mine, code=1).err
    made = len(list_runs())
    assert "made 3 times and measured nothing, the last time over_budget" in autoresearch(*mine, code=2).err
    idea = [entry for entry in LocalBook().entries() if isinstance(entry, Trial)][-1].idea
    said = autoresearch("decide", idea, "--wait", "--json", code=2).json
    assert "not tried more often" in said["advice"]
    assert len(list_runs()) == made


def test_an_idea_that_was_run_with_two_budgets_is_judged_for_each(autoresearch, start, train, recipe):
    better = train(1.99, "a better one")
    other = [*TERMS[:5], "0.07", *TERMS[6:]]
    entries = [entry for entry in LocalBook().entries() if isinstance(entry, Trial) and entry.idea == better]
    longer = entries[-1].model_copy(update={"asked": {**entries[-1].asked, "time_budget": float(other[5])}})
    LocalBook().append(longer)
    kept = autoresearch("decide", better, "--wait", "--json").json
    assert {run["val_bpb"] < 2 for run in kept["runs"]} == {True}
    assert kept["key"]["budget_seconds"] == 0.05


def test_a_recipe_that_was_run_may_be_submitted_for_another_time(autoresearch, start, train, recipe):
    better = train(1.99, "a better one")
    longer = [*TERMS[:5], "0.07", *TERMS[6:]]
    autoresearch("train", "--recipe", recipe(1.99), "--note", "longer", *longer)
    assert {run.result.budget.seconds for run in list_runs() if run.job.idea.id == better} == {0.05, 0.07}
    assert "no new evidence" in autoresearch("train", "--recipe", recipe(1.99), "--note", "x", *longer, code=2).err
    listed = autoresearch("history").out
    assert "0.05 s" in listed
    assert "0.07 s" in listed


def test_an_idea_is_given_the_time_of_its_parent_also_when_no_run_of_that_counts(autoresearch, start, recipe):
    longer = [*TERMS[:5], "0.07", *TERMS[6:]]
    autoresearch("train", "--recipe", recipe(1.99, "OUTSIDE = 9\n"), "--note", "slow", *longer, code=1)
    parent = [entry for entry in LocalBook().entries() if isinstance(entry, Proposal)][-1].idea.id
    unsaid = [*TERMS[:4], *TERMS[6:]]
    autoresearch("train", "--recipe", recipe(1.98), "--note", "child", "--parent", parent, *unsaid)
    assert [entry for entry in LocalBook().entries() if isinstance(entry, Trial)][-1].asked["time_budget"] == 0.07


def noise_grows() -> None:
    """The machine's speed on other days: later runs of the start differ a hundred times as much."""
    make_start_runs(range(8, 16), lambda seed: 2.0 + seed % 1000 / 1e4 - 0.05)


def test_a_keep_that_todays_noise_does_not_bear_is_doubted_and_stands_until_it_is_tried_again(
    autoresearch, start, train
):
    better = train(1.99, "a better one")
    autoresearch("decide", better, "--wait")
    assert autoresearch("brief", "--json").json["doubts"] == []
    noise_grows()
    state, command = autoresearch("brief", "--json").json, f"autoresearch decide {better} --again --wait"
    (doubt,) = state["doubts"]
    assert (doubt["id"], doubt["command"], state["best"]["id"]) == (better, command, better)
    assert doubt["sigma"] > 3 * doubt["sigma_then"]
    assert command in state["next"]
    for shown in (autoresearch("brief").out, autoresearch("best").out):
        assert f"doubt     {better} was kept with sigma" in shown
    asked = autoresearch("decide", better)
    assert asked.out.startswith("keep")
    assert f"`{command}` tries it again" in asked.out
    assert autoresearch("best", "--json").json["id"] == better, "looking changes nothing"
    again = autoresearch("decide", better, "--again", "--wait", "--json", code=None).json
    assert again["verdict"] == "discard"
    assert autoresearch("best", "--json").json["id"] == start
    assert autoresearch("brief", "--json").json["doubts"] == []
    assert "only what was kept" in autoresearch("decide", better, "--again", code=2).err


def test_a_keep_that_stands_again_is_doubted_no_longer(autoresearch, start, train):
    better = train(1.9985, "a better one")
    autoresearch("decide", better, "--wait")
    make_start_runs(range(8, 16), lambda seed: 2.0 + (seed % 1000 - 450) / 1.6e5)
    assert len(autoresearch("best", "--json").json["doubts"]) == 1
    kept = autoresearch("decide", better, "--again", "--wait", "--json").json
    assert kept["verdict"] == "keep"
    best = autoresearch("best", "--json").json
    assert (best["id"], best["doubts"], len(best["lineage"])) == (better, [], 2)


def test_a_demo_corpus_tests_no_idea(autoresearch, recipe, monkeypatch):
    monkeypatch.setattr(Manifest, "is_demo", property(lambda self: True))
    assert "climbmix" in autoresearch("train", "--recipe", recipe(1.9), "--note", "x", *TERMS, code=2).err


def test_train_says_its_result_as_json(autoresearch, recipe):
    said = autoresearch("train", "--recipe", recipe(1.9), "--note", "x", *TERMS, "--json").json
    assert said["idea"].startswith("i")
    assert said["ranked"]


def test_parents_and_ideas_that_are_not_there_are_one_line(autoresearch, start, recipe):
    said = autoresearch("train", "--recipe", recipe(1.9), "--note", "x", "--parent", "i0000000000", *TERMS, code=2)
    assert "no idea is called 'i0000000000'" in said.err
    assert "autoresearch history" in autoresearch("decide", "nothing", code=2).err
    assert "hardware keys with runs" in autoresearch("best", "--hardware", "nvidia-x", code=2).err
    assert "submit it there first" in autoresearch("decide", start, "--hardware", "nvidia-x", code=2).err


def test_without_noise_nothing_is_kept_and_it_says_how_to_measure_it(autoresearch, train, recipe):
    autoresearch("train", "--recipe", recipe(2.0), "--note", "my own start", "--parent", "none", *TERMS)
    good = train(1.5, "much better")
    found = autoresearch("decide", good, "--wait", "--json", code=2).json
    assert found["noise"] is None
    assert "autoresearch calibrate" in found["advice"]
    worse = train(2.5, "worse")
    autoresearch("decide", worse, code=1)


def test_brief_restores_what_an_agent_knew(autoresearch, start, train):
    better = train(1.99, "a better one")
    before = autoresearch("brief", "--json").json
    assert f"autoresearch decide {better} --wait" in before["next"]
    autoresearch("decide", better, "--wait")
    state = autoresearch("brief", "--json").json
    assert state["best"]["id"] == better
    assert state["noise"]["num_seeds"] == 8
    assert state["resolves"]["4"] < state["resolves"]["1"]
    assert state["counts"] == {"start": 1, "keep": 1}
    again = "autoresearch train --time-budget 0.05 --recipe my_recipe.py --note 'why it helps'"
    assert state["next"] == ["autoresearch best --recipe my_recipe.py", again]
    assert "a better one" in autoresearch("brief").out


def test_brief_on_an_empty_book_says_how_to_begin(autoresearch):
    state = autoresearch("brief", "--json").json
    assert state["next"] == ["autoresearch train --time-budget 300 --note baseline"]


def test_brief_tells_an_agent_whose_own_sandbox_lets_no_other_begin_to_submit(autoresearch, monkeypatch):
    reason = "this process is in a macOS sandbox already: use `autoresearch submit`"
    none = Choice(what="sandbox", chosen="none", reason=reason)
    monkeypatch.setattr(briefing.sandbox, "describe", lambda: none)
    state = autoresearch("brief", "--json").json
    assert state["next"] == ["autoresearch submit --target cpu --wait --time-budget 300 --note baseline"]
    assert state["unfenced"] == reason
    assert f"sandbox   none: {reason}" in autoresearch("brief").out
    monkeypatch.setenv("ARE_SANDBOX", "off")
    settings.cache_clear()
    assert autoresearch("brief", "--json").json["unfenced"] == ""


def test_best_without_a_best_says_why_and_what_to_do_and_writes_no_file(autoresearch, tmp_path):
    file = tmp_path / "best.py"
    said = autoresearch("best", "--recipe", str(file), code=1)
    (line,) = said.err.splitlines()
    assert line.startswith("autoresearch: there is no best recipe yet: no idea was run here yet; next: autoresearch")
    assert (said.out, file.exists()) == ("", False)
    document = autoresearch("best", "--recipe", str(file), "--json", code=1).json
    assert (document["id"], document["recipe"], document["reason"]) == (None, None, "no idea was run here yet")
    assert document["next"] == ["autoresearch train --time-budget 300 --note baseline"]


def test_best_of_a_start_whose_run_does_not_count_names_the_reason_and_history_the_number(
    autoresearch, recipe, tmp_path
):
    mine = recipe(1.9, "OUTSIDE = 9\n")
    autoresearch("train", "--recipe", mine, "--note", "slow to load", "--parent", "none", *TERMS, code=1)
    said = autoresearch("best", "--recipe", str(tmp_path / "best.py"), code=1)
    (row,) = autoresearch("history", "--json").json
    assert f"the start {row['id']} has no run that counts (over_budget: 9." in said.err
    assert f"next: autoresearch decide {row['id']} --wait" in said.err
    assert (row["state"], row["val_bpb"]) == ("no run counts", None)
    assert row["not_counted"][0]["why"].startswith("over_budget: 9.")
    shown = autoresearch("history").out
    for command in ("report", "prune"):
        assert f"the start {row['id']} has no run that counts" in autoresearch(command, code=2).err
    assert f"not counted  {row['id']}  {row['not_counted'][0]['val_bpb']:.6f}  over_budget" in shown


def test_a_start_that_crashed_is_not_to_be_submitted_again_but_a_smaller_one(autoresearch, recipe):
    mine = recipe(1.0, "CRASH = 1\n")
    autoresearch("train", "--recipe", mine, "--note", "it crashes", "--parent", "none", *TERMS[2:], code=1)
    said = autoresearch("best", "--json", code=1).json
    assert "came to no number (crashed" in said["reason"]
    assert said["next"] == ["autoresearch train --time-budget 0.05 --preset m5-tiny --note baseline"]
    autoresearch("train", "--recipe", mine, "--note", "so too", "--parent", "none", *TERMS, code=1)
    assert autoresearch("best", "--json", code=1).json["next"] == ["autoresearch doctor"]


def test_prune_drops_what_is_not_missed_and_keeps_what_is(autoresearch, start, train, recipe, tmp_path):
    for quality, note in ((1.99, "a small one"), (1.98, "useful")):
        autoresearch("decide", train(quality, note), "--wait")
    mine = recipe(1.98)
    with open(mine, "r+") as file:
        source = file.read().replace("    ...\n", "    barnacle = 1\n")
        file.seek(0)
        file.write(source)
    autoresearch("train", "--recipe", mine, "--note", "a barnacle", *TERMS)
    barnacle = autoresearch("history", "--json").json[-1]["id"]
    force_keep(barnacle)
    asked_for_more_at_first(barnacle)
    assert autoresearch("best", "--json").json["id"] == barnacle
    assert [one["state"] for one in autoresearch("prune", "--json").json] == ["cannot", "would test", "undecided"]
    found = {one["note"]: one["state"] for one in autoresearch("prune", "--wait", "--json").json}
    assert found == {"a small one": "cannot", "useful": "stays", "a barnacle": "dropped"}
    budgets = [entry.asked["time_budget"] for entry in LocalBook().entries() if isinstance(entry, Trial)]
    assert budgets.count(0.07) == 1, "what is compared with the best has its budget"
    autoresearch("best", "--recipe", str(tmp_path / "best.py"))
    best = (tmp_path / "best.py").read_text()
    assert "barnacle" not in best
    assert "QUALITY = 1.98\n" in best


def asked_for_more_at_first(name: str) -> None:
    """As if the idea had been sent to this machine with another budget before."""
    book = LocalBook()
    lines = book.file.read_text().splitlines()
    place, trial = next(
        (place, entry) for place, entry in enumerate(book.entries()) if isinstance(entry, Trial) and entry.idea == name
    )
    longer = trial.model_copy(update={"asked": {**trial.asked, "time_budget": 0.07}})
    book.file.write_text("\n".join([*lines[:place], longer.model_dump_json(), *lines[place:]]) + "\n")


def force_keep(name: str) -> None:
    """As if luck had kept it: a ruling of runs that are gone is believed on a disk of one's own."""
    from datetime import UTC, datetime

    from services.console.research import Here
    from shared.research.book import Ruling
    from shared.research.rule import Verdict

    known = Here().known()
    key = known.all_keys()[0]
    best = known.best(key)
    about = {"idea": name, "key": key, "verdict": Verdict.KEEP, "reason": "luck", "made_at": datetime.now(UTC)}
    lucky = {"runs": ("gone",), "pool": ("gone",), "sigma": 1.0, "sigma_seeds": 8, "published": best[1] - 1e-6}
    LocalBook().append(Ruling(**about, **lucky))


def test_report_writes_upstreams_table_a_picture_and_the_lineage(autoresearch, start, train, tmp_path):
    better = train(1.99, "a better | one")
    autoresearch("decide", better, "--wait")
    train("1.0\nCRASH = 1", "it crashes", code=1)
    files = autoresearch("report", "--output", str(tmp_path / "out"), "--json").json["files"]
    assert [name.rsplit("/")[-1] for name in files] == ["report.md", "progress.png", "results.tsv"]
    table = [line.split("\t") for line in (tmp_path / "out" / "results.tsv").read_text().splitlines()]
    assert table[0] == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert [line[3] for line in table[1:]] == ["keep", "keep", "crash"]  # the start, as upstream has it, and two
    assert table[3][1:3] == ["0.000000", "0.0"]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "a better \\| one" in text
    assert "Standings" in text


def test_report_leaves_the_table_that_sweeps_append_to(autoresearch, start, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = tmp_path / sweep.RESULTS.name / "results.tsv"
    table.parent.mkdir()
    table.write_text("a night of runs\n")
    files = autoresearch("report", "--json").json["files"]
    assert any(name.endswith("results.tsv") for name in files)
    assert table.read_text() == "a night of runs\n"


def test_report_says_what_each_file_is_and_upstreams_table_which_discard_is_undecided(
    autoresearch, start, train, tmp_path
):
    train(1.9995, "not decided yet")
    lines = autoresearch("report", "--output", str(tmp_path / "out")).out.splitlines()
    words = {line.split()[0].rsplit("/")[-1]: line for line in lines}
    assert "every idea with its verdict" in words["report.md"]
    assert "picture" in words["progress.png"]
    assert "undecided or not decided stands there as discard" in words["results.tsv"]
    assert (tmp_path / "out" / "results.tsv").read_text().endswith("\tdiscard\tnot decided: not decided yet\n")
    report = (tmp_path / "out" / "report.md").read_text()
    assert "has no word for undecided" in report
    assert "| not decided |" in report


def test_books_are_lines_of_json_that_outlive_a_torn_one(autoresearch, start, workplace):
    file = workplace / "research" / "book.jsonl"
    with open(file, "a") as book:
        book.write('{"what": "ruling", "idea"')
    assert autoresearch("history", "--json").json[0]["id"] == start
    assert all(json.loads(line) for line in file.read_text().splitlines()[:-1])
