"""`autoresearch mcp`, spoken to by the SDK's own client, on a hub with a worker."""

import asyncio
import os
import sys

import pytest

from tests.ideas import RECIPE

SERVER = "import sys; sys.argv = ['autoresearch', 'mcp']; from services.console.main import main; main()"


@pytest.fixture
def client(hub, start_worker, workplace, tmp_path):
    """Runs a conversation with a server of its own."""
    mcp = pytest.importorskip("mcp", reason="the extra mcp is not installed")
    from mcp.client.stdio import StdioServerParameters

    start_worker()
    env = {**os.environ, "ARE_REDIS_URL": hub.url, "ARE_ENV_FILE": str(tmp_path / "no.env"), "ARE_TRACKING_URI": ""}
    server = StdioServerParameters(command=sys.executable, args=["-c", SERVER], env=env)

    def talk(conversation):
        async def connected():
            async with mcp.Client(server, read_timeout_seconds=60) as found:
                return await conversation(found)

        return asyncio.run(connected())

    return talk


def test_an_idea_is_submitted_and_decided_over_the_protocol(client, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(RECIPE.format(quality=2.5))
    terms = {"target": "cpu", "preset": "m5-tiny", "dataset": "words", "time_budget": 0.05, "rung": "cheap"}

    async def conversation(found):
        names = {tool.name for tool in (await found.list_tools()).tools}
        sent = await found.call_tool("submit", {"recipe": str(path), "note": "worse", **terms})
        again = await found.call_tool("submit", {"recipe": "nowhere.py", "note": "x", **terms})
        idea, jobs = sent.structured_content["idea"], sent.structured_content["jobs"]
        ended = await found.call_tool("wait", {"jobs": jobs})
        decided = await found.call_tool("decide", {"idea": idea})
        tried = await found.call_tool("history", {})
        status = await found.call_tool("status", {})
        return names, again, ended, decided, tried, status

    names, again, ended, decided, tried, status = client(conversation)
    assert names == {"status", "submit", "wait", "decide", "history"}
    assert again.is_error
    assert "does not exist" in again.content[0].text
    assert {one["state"] for one in ended.structured_content.values()} == {"done"}
    assert decided.structured_content["verdict"] == "discard"
    assert [row["state"] for row in tried.structured_content["result"]] == ["start", "discard"]
    assert status.structured_content["best"]["note"] == "the shipped recipe"
