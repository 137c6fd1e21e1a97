"""`autoresearch sweep` on a queue: it may be killed, and so may the hub, and every point is run once."""

import os
import subprocess
import sys

import pytest

from shared.settings import CHECKOUT
from tests.fleet import wait_for
from tests.recipes import HONEST

SWEEP = """
recipe = "mine.py"
preset = "m5-tiny"
target = "cpu"
dataset = "words"
time_budget = 0.2
rung = "cheap"
[[points]]
set = { depth = 1 }
[[points]]
name = "small"
constants = { UNUSED = 2 }
"""
COMMAND = "import sys; from services.console.main import main; sys.argv[0] = 'autoresearch'; main()"


@pytest.fixture
def sweep(hub, workplace, tmp_path):
    (tmp_path / "mine.py").write_text("UNUSED = 1  # sweep\n" + HONEST)
    (tmp_path / "night.toml").write_text(SWEEP)
    env = {**os.environ, "ARE_REDIS_URL": hub.url, "ARE_ENV_FILE": str(tmp_path / "none"), "PYTHONPATH": str(CHECKOUT)}
    argv = [sys.executable, "-c", COMMAND, "sweep", str(tmp_path / "night.toml"), "--tag", "n", "--hours", "1"]
    argv += ["--results", str(tmp_path / "results")]
    started = []

    def start() -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(argv, env=env, cwd=tmp_path, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def jobs(hub) -> list[str]:
    return sorted(key.decode().removeprefix("rq:job:") for key in hub.connection.scan_iter("rq:job:n-*"))


def test_a_sweep_that_was_killed_with_its_hub_goes_on_and_enqueues_nothing_twice(hub, sweep, start_worker, tmp_path):
    first = sweep()
    wait_for(lambda: jobs(hub) == ["n-000-s42"])
    first.kill()
    hub.kill()
    hub.start()
    start_worker()
    output, errors = sweep().communicate(timeout=60)
    assert "the sweep has ended: every point was tried, 3 points" in output, output + errors
    names = ["n-000-s42", "n-001-s42", "n-002-s42"]
    assert jobs(hub) == names
    assert [hub.store.attempts(name) for name in names] == [1, 1, 1]
    lines = [line.split("\t") for line in (tmp_path / "results" / "results.tsv").read_text().splitlines()]
    scores = [(line[1], line[3]) for line in lines[1:]]
    assert scores == [("2.000042", "keep"), ("2.000042", "discard"), ("2.000042", "discard")]
    assert "small" in lines[3][4]
    assert (tmp_path / "results" / "overnight" / "n" / "report.md").exists()
    output, _ = sweep().communicate(timeout=60)
    assert "continue 3 points have ended" in output
    assert jobs(hub) == names


def test_a_sweep_without_a_hub_is_one_line(hub, sweep):
    hub.kill()
    process = sweep()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith("autoresearch: no hub answers at")
    assert errors.count("\n") == 1
    hub.start()
