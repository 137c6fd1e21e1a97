"""What `history`, `brief` and `best` say of ideas beside their numbers."""

from dataclasses import replace

import pytest

from services.console import looking
from services.console.verdicts import ruling_of
from shared.research.book import LocalBook, Undecided
from shared.research.history import rows
from shared.research.judge import judge
from shared.research.known import rule_for
from shared.research.noise import Noise
from tests import ideas
from tests.ideas import RECIPE, TERMS
from tests.shared.research.makers import KEY, START, idea, known, results
from tests.start_runs import measured_start


@pytest.fixture
def autoresearch(workplace, tmp_path, monkeypatch, capsys):
    ideas.alone(monkeypatch, tmp_path)
    ideas.fast_stages(monkeypatch)
    return ideas.typing(monkeypatch, capsys)


def last(autoresearch, command: str = "history") -> dict:
    said = autoresearch(command, "--json").json
    return (said["last"] if command == "brief" else said)[-1]


def test_an_idea_that_was_never_decided_is_told_from_one_that_was_decided_as_undecided(autoresearch, tmp_path):
    measured_start()
    (tmp_path / "mine.py").write_text(RECIPE.format(quality=1.99))
    autoresearch("train", "--recipe", tmp_path / "mine.py", "--note", "better", *TERMS)
    one = last(autoresearch)
    assert (one["state"], one["reason"]) == ("not decided", "")
    reason = autoresearch("decide", one["id"], "--json", code=2).json["reason"]
    for command in ("history", "brief"):
        one = last(autoresearch, command)
        assert (one["state"], one["reason"]) == ("undecided", reason)
    autoresearch("decide", one["id"], code=2)
    assert sum(isinstance(entry, Undecided) for entry in LocalBook().entries()) == 1
    autoresearch("decide", one["id"], "--wait")
    assert last(autoresearch)["state"] == "keep"


def test_history_of_an_empty_book_names_a_command_that_can_be_pasted(autoresearch):
    said = autoresearch("history").out
    assert "`autoresearch train --time-budget 300 --note baseline` begins" in said
    assert autoresearch("history", "--json").json == []


def test_history_of_a_machine_where_nothing_ran_names_those_where_something_did(autoresearch):
    measured_start()
    said = autoresearch("history", "--hardware", "gpu", code=2).err
    assert "no idea has a run that counts on gpu; hardware keys" in said


def test_best_without_a_file_says_what_writes_its_recipe(autoresearch, tmp_path, monkeypatch):
    measured_start()
    monkeypatch.chdir(tmp_path)
    said = autoresearch("best", "--local", "--json").json
    assert (said["recipe"], said["write"]) == (None, "autoresearch best --recipe my_recipe.py --local")
    assert said["smoke"].startswith("autoresearch train --recipe my_recipe.py --smoke")
    assert f"`{said['write']}` writes it into a file" in autoresearch("best", "--local").out
    autoresearch(*said["write"].split()[1:])
    assert LocalBook().recipe(said["recipe_sha"]) == (tmp_path / "my_recipe.py").read_bytes()


def with_a_lucky_discard():
    """A kept idea, and one whose fresh run took the luck of the first away."""
    kept, lucky, noise = idea("kept = 1"), idea("lucky = 1"), Noise(0.001, 8, "test")
    start = (START, results(START, 2.0, 2.0, 2.0))
    pairs = start, (kept, results(kept, 1.99, 1.996)), (lucky, results(lucky, 1.98, 2.001))
    judged = [ruling_of(judged_by(known(*pairs), one, noise)) for one in (lucky, kept)]
    return known(*pairs, rulings=judged), kept, lucky


def judged_by(state, one, noise):
    judged = judge(state, one, KEY, None)
    return replace(judged, noise=noise, decision=rule_for(one)(judged.runs.values, judged.pool.values, noise))


def test_a_discard_with_a_lower_number_than_the_best_is_listed_with_the_reason():
    state, kept, lucky = with_a_lucky_discard()
    found = {row.idea.id: row for row in rows(state)}
    assert (found[kept.id].state, found[lucky.id].state) == ("keep", "discard")
    assert found[lucky.id].val_bpb < found[kept.id].val_bpb == 1.996
    assert found[kept.id].as_json()["val_bpb_of"] == "the fresh run that confirmed it"
    assert found[lucky.id].as_json()["val_bpb_of"] == "the mean of 2 runs"
    (line,) = looking.why_lower(state, rows(state))
    assert line.startswith(f"lower     {lucky.id} than the best, {kept.id}: its 1.996000 is the fresh run")
    assert looking.why_lower(state, [found[kept.id]]) == []


def test_history_and_brief_say_why_a_discard_has_a_lower_number(autoresearch, monkeypatch):
    measured_start()
    monkeypatch.setattr(looking, "why_lower", lambda known, found: ["lower     than the best"])
    for command in ("history", "brief"):
        assert "lower     than the best\n" in autoresearch(command).out
