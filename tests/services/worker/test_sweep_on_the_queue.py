"""`autoresearch sweep` on a queue: it may be killed, and so may the hub, and every point is run once."""

import json
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
    argv = [sys.executable, "-c", COMMAND, "sweep", str(tmp_path / "night.toml"), "--hours", "1"]
    argv += ["--results", str(tmp_path / "results"), "--json"]
    started = []

    def start(tag: str = "n") -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([*argv, "--tag", tag], env=env, cwd=tmp_path, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def jobs(hub) -> list[str]:
    return sorted(key.decode().removeprefix("rq:job:") for key in hub.connection.scan_iter("rq:job:i*"))


def test_a_sweep_that_was_killed_with_its_hub_goes_on_and_enqueues_nothing_twice(hub, sweep, start_worker, tmp_path):
    first = sweep()
    (first_job,) = wait_for(lambda: jobs(hub))
    first.kill()
    hub.kill()
    hub.start()
    start_worker()
    output, errors = sweep().communicate(timeout=60)
    assert "the sweep has ended: every point was tried, 3 points" in errors, output + errors
    said = json.loads(output)
    assert said["points"][0]["verdict"] == "keep"
    assert said["best"] == min(said["points"], key=lambda point: point["val_bpb"])["number"]
    names = jobs(hub)
    assert len(names) == 3
    assert first_job in names
    assert [hub.store.attempts(name) for name in names] == [1, 1, 1]
    assert [hub.store.outcome(name).result.idea for name in names] == [name.split("-")[0] for name in names]
    lines = [line.split("\t") for line in (tmp_path / "results" / "results.tsv").read_text().splitlines()]
    assert all(float(line[1]) > 2 for line in lines[1:])
    assert lines[1][3] == "keep"
    assert "small" in lines[3][4]
    assert (tmp_path / "results" / "overnight" / "n" / "report.md").exists()
    _, errors = sweep().communicate(timeout=60)
    assert "continue 3 points have ended" in errors
    assert jobs(hub) == names


def test_a_base_that_somebody_cancelled_ends_its_sweep_and_is_run_again_by_the_next_one(
    hub, sweep, start_worker, tmp_path
):
    first = sweep()
    (job,) = wait_for(lambda: jobs(hub))
    hub.store.ask_to_cancel(job)
    start_worker()
    _, errors = first.communicate(timeout=60)
    assert "the base has no number" in errors
    _, errors = sweep(tag="m").communicate(timeout=60)
    assert "the sweep has ended: every point was tried, 3 points" in errors
    assert [hub.store.outcome(name).status for name in (job, f"{job}-r1")] == ["cancelled", "ok"]


def test_a_sweep_without_a_hub_is_one_line(hub, sweep):
    hub.kill()
    process = sweep()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith("autoresearch: no hub answers at")
    assert errors.count("\n") == 1
    hub.start()
