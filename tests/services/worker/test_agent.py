"""An agent that follows program.md to the letter, on a hub with its access rules; and two agents at once."""

import json
import re
import shlex
import threading

import pytest

from services.console.research import Fleet
from shared.research.book import FleetBook, Proposal, Ruling, Trial
from shared.research.comparable import most_again
from shared.research.idea import propose
from shared.runs.shipped import default_recipe
from shared.settings import CHECKOUT, settings
from tests import ideas
from tests.hubs import HubQueue
from tests.ideas import RECIPE, TERMS

HUB = HubQueue


@pytest.fixture
def autoresearch(hub, workplace, tmp_path, monkeypatch, capsys):
    ideas.with_hub(monkeypatch, tmp_path, hub.agent_url)
    ideas.fast_stages(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return ideas.typing(monkeypatch, capsys)


def brief_says() -> list[list[str]]:
    """The commands in the blocks of program.md, in order."""
    text = (CHECKOUT / "program.md").read_text()
    return [shlex.split(line)[1:] for line in re.findall(r"^ {4,7}(autoresearch .*)$", text, flags=re.MULTILINE)]


def brief_mentions(beginning: str) -> list[str]:
    """The command or option in the text of program.md that begins so, as words."""
    text = (CHECKOUT / "program.md").read_text()
    return shlex.split(re.search(rf"`({re.escape(beginning)}[^`]*)`", text)[1])


class Agent:
    """Knows nothing but program.md; `edit` is its only invention."""

    def __init__(self, autoresearch, folder):
        self.run, self.recipe = autoresearch, folder / "my_recipe.py"
        self.brief, self.take_best, self.smoke, self.submit, self.decide, self.go_back = brief_says()
        self.kept = []

    def filled(self, command: list[str], **words: str) -> list[str]:
        return [words.get(word, word) for word in command]

    def begin(self) -> None:
        state = self.run(*self.brief).json
        if state["best"] is None:
            first = shlex.split(state["next"][0])[1:]
            self.run(*first, *TERMS)  # whoever sets the machine up chooses budget and dataset; ideas inherit them
        self.run(*self.take_best)

    def test(self, source: str, why: str, parent: str | None = None) -> dict:
        self.recipe.write_text(source)
        self.run(*self.smoke, "--dataset", "words", code=None)
        of_another = self.filled(brief_mentions("--parent"), IDEA=parent) if parent else []
        said = self.run(*self.filled(self.submit, TARGET="cpu", WHY=why), *of_another, code=None)
        idea = next(line for line in map(parsed, said.out.splitlines()) if "idea" in line)["idea"]
        verdict = self.run(*self.filled(self.decide, IDEA=idea), code=None)
        if verdict.code == 0:
            self.kept.append(idea)
        else:
            self.run(*self.go_back)
        return {**verdict.json, "code": verdict.code}


def parsed(line: str) -> dict:
    return json.loads(line) if line.startswith("{") else {}


def test_an_agent_that_follows_the_brief_keeps_the_better_idea_and_drops_the_others(
    autoresearch, worker, tmp_path, hub
):
    agent = Agent(autoresearch, tmp_path)
    agent.begin()
    better = agent.test(RECIPE.format(quality=1.99), "better by construction")
    worse = agent.test(RECIPE.format(quality=1.995), "worse than that")
    crashing = agent.test(RECIPE.format(quality=1.0) + "CRASH = 1\n", "crashes")

    assert [one["code"] for one in (better, worse, crashing)] == [0, 1, 1]
    assert better["noise"]["source"] == f"{len(better['pool'])} runs of the start"  # made when they were needed
    assert better["published"] == better["runs"][1]["val_bpb"]
    assert worse["parent"] == crashing["parent"] == better["idea"]
    assert agent.recipe.read_text() == RECIPE.format(quality=1.99)
    state = autoresearch("brief", "--json").json
    assert (state["best"]["id"], state["where"]) == (better["idea"], "the hub")
    assert state["counts"] == {"start": 1, "keep": 1, "discard": 1, "crash": 1}
    assert state["waiting"] == []
    assert "autoresearch submit --target cpu --wait --time-budget 0.05 --recipe my_recipe.py" in state["next"][-2]

    older = agent.test(RECIPE.format(quality=1.999), "a change of the start", parent=better["parent"])
    assert older["parent"] == better["parent"]


def test_the_brief_says_how_the_noise_of_a_machine_is_measured_before_the_first_idea(autoresearch, hub):
    assert autoresearch("brief", "--json").json["noise"] is None
    measure = ["cpu" if word == "TARGET" else word for word in brief_mentions("autoresearch submit --target")[1:]]
    assert measure.pop() == "--wait"  # there is no worker here
    (job,) = autoresearch(*measure, "--json").json["jobs"]
    (waiting,) = autoresearch("brief", "--json").json["waiting"]
    assert (waiting["job"], waiting["state"]) == (job, "queued")
    assert hub.queue().fetch_job(job).func_name.endswith(".calibrate")


def test_two_agents_share_one_book_and_do_not_repeat_each_other(autoresearch, worker, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99))
    submit = ["submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--json", "--wait"]
    first = autoresearch(*submit, "--note", "of the first")
    again = autoresearch(*submit, "--note", "of the second", code=2)
    assert "'of the first'" in again.err
    assert "no new evidence" in again.err
    assert first.out.count('"state": "done"') == 1


def test_two_agents_that_decide_at_once_make_each_run_once(autoresearch, worker, tmp_path, hub):
    from services.console.verdicts import conclude

    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99))
    said = autoresearch("submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--note", "x", "--json")
    idea = said.json["idea"]
    assert (said.json["parent"] is not None, said.json["budget_seconds"]) == (True, 0.05)
    found = []
    threads = [threading.Thread(target=lambda: found.append(conclude(Fleet(), idea, wait=True))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [one.decision.verdict for one in found] == ["keep", "keep"] or {one.decision.verdict for one in found} == {
        "undecided"
    }
    trials = [entry for entry in FleetBook(hub.connection).entries() if isinstance(entry, Trial)]
    jobs = [trial.job_id(index) for trial in set_of(trials) for index in range(4)]
    assert all(hub.store.attempts(job) <= 1 for job in jobs)


def test_a_run_that_was_cancelled_is_made_again_on_the_same_seed(autoresearch, worker, hub, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=2.5))
    slow = [*TERMS[:4], "--time-budget", "60", *TERMS[6:]]
    said = autoresearch("submit", "--target", "cpu", "--recipe", str(mine), *slow, "--note", "x", "--json").json
    autoresearch("cancel", *said["jobs"])
    assert hub.outcome(said["jobs"][0]).status == "cancelled"  # a worker that had begun it needs a moment
    again = Fleet().enqueue(Fleet().known().ideas[said["idea"]], Fleet().known().trials[said["idea"]][0], [0])
    assert again == [said["jobs"][0] + "-r1"]
    autoresearch("cancel", *again)


def test_an_idea_whose_runs_do_not_count_says_why_and_may_be_sent_with_another_budget(autoresearch, worker, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99) + "OUTSIDE = 9\n")
    submit = ["submit", "--target", "cpu", "--recipe", str(mine), "--note", "slow to load", "--json", "--wait", *TERMS]
    said = autoresearch(*submit, code=1)
    assert "not ranked: over_budget" in said.out
    idea = next(line for line in map(parsed, said.out.splitlines()) if "idea" in line)["idea"]
    decided = autoresearch("decide", idea, "--wait", "--json", code=2).json
    assert decided["verdict"] == "undecided"
    told = f"does not count for idea {idea}: it is not ranked (it computed for longer than its budget"
    assert told in said.err
    assert f"`autoresearch decide {idea} --wait` makes the run again" in said.err
    assert told in autoresearch("wait", *said.json["jobs"], code=1).err
    assert "not ranked: over_budget" in decided["advice"]
    assert "another --time-budget" in decided["advice"]
    autoresearch(*submit, "--time-budget", "0.06", code=1)


def test_decide_says_which_runs_it_makes_and_which_of_them_do_not_count(autoresearch, worker, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99) + "OUTSIDE = 9\nONCE = 1\n")
    autoresearch("submit", "--target", "cpu", "--wait", "--note", "baseline", *TERMS)
    submit = ["submit", "--target", "cpu", "--recipe", str(mine), "--note", "x", "--json", "--wait", *TERMS]
    idea = autoresearch(*submit, code=1).json["idea"]
    decided = autoresearch("decide", idea, "--wait", "--json")
    mine, of_parent = ([one for one in decided.json["made"] if (one["idea"] == idea) == own] for own in (True, False))
    over, seeds = "over_budget: 9.", [Fleet().known().ideas[idea].seed(index) for index in range(2)]
    assert [one["why_not_counted"] and one["why_not_counted"][: len(over)] for one in mine] == [None, over, None]
    assert [one["seed"] for one in mine] == [seeds[index] for index in (0, 1, 1)]
    assert {one["hardware_key"] for one in mine} == {decided.json["key"]["hardware_key"]}
    assert len(of_parent) == len(decided.json["pool"]) - 1
    assert f"1 run of {idea} with seed {seeds[1]} on cpu (x)" in decided.err
    assert "does not count (val_bpb" in decided.err
    assert "not ranked: over_budget" in decided.err


def test_a_trial_that_stands_in_the_book_twice_has_each_run_once(autoresearch, worker, tmp_path):
    """Every sweep writes its base down."""
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99))
    said = autoresearch("submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--note", "x", "--json", "--wait")
    idea = next(line for line in map(parsed, said.out.splitlines()) if "idea" in line)["idea"]
    Fleet().append(*Fleet().known().trials[idea])
    assert len(Fleet().known().results[idea]) == 1
    assert autoresearch("history", "--json").json[-1]["not_counted"] == []


def test_a_shipped_recipe_is_tried_more_often_than_one_that_could_choose_its_runs():
    shipped = default_recipe("torch")
    ours = propose(shipped.read_bytes())
    theirs = propose(shipped.read_bytes() + b"MINE = 1\n")
    assert most_again(ours) > most_again(theirs)


def test_an_mlflow_that_is_away_is_asked_for_no_verdict(autoresearch, worker, tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=2.5))
    submit = ["submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--note", "worse", "--json", "--wait"]
    said = autoresearch("decide", autoresearch(*submit).json["idea"], "--wait", code=1)
    assert "MLflow" not in said.err
    assert said.out.startswith("discard")


def set_of(trials):
    return {trial.job_id(0): trial for trial in trials}.values()


def test_an_agent_may_add_to_the_book_and_not_change_it(hub):
    from redis import Redis
    from redis.exceptions import NoPermissionError

    agent = Redis.from_url(hub.agent_url)
    agent.rpush("are:ideas", "{}")
    agent.setnx("are:recipe:x", "1")
    for forbidden in (
        lambda: agent.set("are:ideas", ""),
        lambda: agent.delete("are:ideas"),
        lambda: agent.lset("are:ideas", 0, ""),
        lambda: agent.lpop("are:ideas"),
        lambda: agent.set("are:recipe:x", "2"),
        lambda: agent.rpush("are:jobs", "x"),
    ):
        with pytest.raises(NoPermissionError):
            forbidden()


def test_a_job_under_an_ideas_name_with_other_settings_is_refused_by_the_worker(autoresearch, worker, hub, tmp_path):
    """Somebody who enqueues a larger model under the name of an idea."""
    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=1.99))
    said = autoresearch("submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--note", "x", "--json", "--wait")
    idea = next(line for line in map(parsed, said.out.splitlines()) if "idea" in line)["idea"]
    proposal = next(e for e in FleetBook(hub.connection).entries() if isinstance(e, Proposal) and e.idea.id == idea)
    reference = proposal.idea.ref.model_dump(mode="json")
    forged = {"recipe": RECIPE.format(quality=1.5), "preset": "m5-small", "dataset": "words", "time_budget": 0.05}
    job = hub.enqueue(**forged, idea=reference, job_id="forged")
    assert hub.outcome(job).status == "invalid"
    assert "another recipe" in hub.outcome(job).reason


def test_a_verdict_that_an_agent_makes_up_counts_for_nothing(autoresearch, worker, hub, tmp_path):
    from datetime import UTC, datetime

    from shared.research.rule import Verdict

    mine = tmp_path / "mine.py"
    mine.write_text(RECIPE.format(quality=2.1))
    said = autoresearch("submit", "--target", "cpu", "--recipe", str(mine), *TERMS, "--note", "x", "--json", "--wait")
    idea = next(line for line in map(parsed, said.out.splitlines()) if "idea" in line)["idea"]
    known = Fleet().known()
    key = known.keys(known.idea(idea))[0]
    lie = Ruling(
        idea=idea, key=key, verdict=Verdict.KEEP, reason="trust me", published=1.0, sigma=1e-9, sigma_seeds=8,
        runs=(known.results[idea][0].run_id,), pool=(), made_at=datetime.now(UTC),
    )  # fmt: skip
    Fleet().append(lie)
    assert len(Fleet().known().unproved) == 1
    assert autoresearch("history", "--json").json[-1]["state"] == "not decided"
