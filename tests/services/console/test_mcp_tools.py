"""The tools of `autoresearch mcp` on a machine of its own, without the SDK."""

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


def test_mistakes_are_told_in_one_line(tools, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.py does not exist"):
        tools.submit("nowhere.py", "x", **TERMS)
    with pytest.raises(ValueError, match="no idea is called"):
        tools.decide("nothing")
    with pytest.raises(ValueError, match="was begun here"):
        tools.wait(["i0123456789"])


def test_a_server_without_the_sdk_says_what_to_install(tools, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "mcp.server", None)
    said = ideas.typing(monkeypatch, capsys)("mcp", code=2)
    assert ".[mcp]" in said.err
