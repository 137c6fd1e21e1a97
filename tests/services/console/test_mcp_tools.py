"""The tools of `autoresearch mcp` on a machine of its own, without the SDK."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from services.console.mcp_tools import Tools
from services.console.research import Here
from tests import ideas
from tests.ideas import RECIPE

TERMS = {"preset": "m5-tiny", "dataset": "words", "rung": "cheap"}


@pytest.fixture
def tools(workplace, tmp_path, monkeypatch):
    ideas.alone(monkeypatch, tmp_path)
    ideas.fast_stages(monkeypatch)
    return Tools(Here())


def test_work_goes_on_after_an_answer_and_is_found_again(tools, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    sent = tools.submit(str(path), "worse", time_budget=0.3, **TERMS)
    name = sent["jobs"][0]
    assert tools.wait([name], timeout_s=0)[name] == {"state": "running", "what": name}
    assert tools.wait([name])[name]["runs"][0]["val_bpb"] > 2.5
    assert tools.decide(sent["idea"], timeout_s=0) == {"state": "running", "what": f"decide {sent['idea']}"}
    assert tools.decide(sent["idea"])["verdict"] == "discard"
    assert tools.history()[-1]["note"] == "worse"


def test_an_answer_that_was_lost_is_given_again_also_by_a_server_that_was_started_since(tools, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    name = tools.submit(str(path), "worse", time_budget=0.3, **TERMS)["jobs"][0]
    first = tools.wait([name])
    assert first[name]["state"] == "done"
    assert tools.wait([name]) == first
    assert Tools(Here()).wait([name]) == first
    verdicts = [one.decide(name)["verdict"] for one in (tools, tools, Tools(Here()))]
    assert verdicts == ["discard"] * 3
    with pytest.raises(ValueError, match="only what was kept is tried again"):
        tools.decide(name, again=True)


def test_who_lost_the_answer_to_submit_asks_again_and_the_run_is_made_once(tools, tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    run, both_were_sent = tools.place.run, Event()

    def begun_late(*arguments):
        assert both_were_sent.wait(30)
        run(*arguments)

    monkeypatch.setattr(tools.place, "run", begun_late)
    sent = [tools.submit(str(path), "worse", time_budget=0.3, **TERMS) for _ in range(2)]
    assert sent[0] == sent[1]
    both_were_sent.set()
    tools.workers.shutdown()
    assert len(tools.wait(sent[0]["jobs"])[sent[0]["idea"]]["runs"]) == 1
    with pytest.raises(ValueError, match=f"is idea {sent[0]['idea']}"):
        tools.submit(str(path), "worse", time_budget=0.3, **TERMS)


def test_two_who_wait_for_one_verdict_both_get_it(tools, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    name = tools.submit(str(path), "worse", time_budget=0.3, **TERMS)["idea"]
    with ThreadPoolExecutor(2) as both:
        asked = [both.submit(tools.decide, name) for _ in range(2)]
    assert [one.result()["verdict"] for one in asked] == ["discard", "discard"]


def test_a_run_that_could_not_be_begun_says_why_each_time_it_is_asked(tools, tmp_path, monkeypatch):
    def busy(*arguments):
        raise ValueError("the device is in use")

    monkeypatch.setattr(tools.place, "run", busy)
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    name = tools.submit(str(path), "worse", time_budget=0.3, **TERMS)["idea"]
    for _ in range(2):
        with pytest.raises(ValueError, match="the device is in use"):
            tools.wait([name])
    with pytest.raises(ValueError, match="decide makes one"):
        Tools(Here()).wait([name])


def test_mistakes_are_told_in_one_line(tools, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.py does not exist"):
        tools.submit("nowhere.py", "x", **TERMS)
    with pytest.raises(ValueError, match="no idea is called"):
        tools.decide("nothing")
    with pytest.raises(ValueError, match="no idea is called"):
        tools.wait(["i0123456789"])


def test_a_server_without_the_sdk_says_what_to_install(tools, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "mcp.server", None)
    said = ideas.typing(monkeypatch, capsys)("mcp", code=2)
    assert ".[mcp]" in said.err
