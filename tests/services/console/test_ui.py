"""`autoresearch ui` with MLflow's real server."""

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from services.console import browser

COMMAND = [sys.executable, "-c", "from services.console.main import main; main()", "ui"]
NOBODY = "http://127.0.0.1:9/#/experiments"


def test_the_address_is_said_when_the_pages_answer(tmp_path):
    places = {"ARE_HOME": "home", "ARE_RUNS": "runs", "ARE_ENV_FILE": "none"}
    environment = os.environ | {name: str(tmp_path / place) for name, place in places.items()}
    server = subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        said = next(line for line in server.stdout if line.startswith("open http"))
        page = re.search(r"http://[^/]+/", said)[0]
        assert urllib.request.urlopen(page, timeout=5).status == 200
        assert "there are no runs yet" in said
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.communicate(timeout=30)


@pytest.mark.parametrize("server", [os.getppid(), 0], ids=["too slow", "ended"])
def test_a_server_that_never_answers_opens_no_page(server, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(browser, "PATIENCE_S", -1.0)
    monkeypatch.setattr(browser.webbrowser, "open", opened.append)
    assert browser.wait_and_show([("runs", NOBODY)], server) == 1
    assert opened == []
    assert ("does not answer" in capsys.readouterr().out) == (server != 0)
