"""The spool executor keeps the executors' contract, and what only a spool can get wrong."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.executor import __main__ as runner
from shared.contracts import Budget, CheckpointPolicy, Status, VoidCause
from shared.experiment.run import run
from shared.runs.checkpoint import latest
from shared.runs.directory import RunDirectory
from shared.settings import CHECKOUT
from shared.stages import spool
from shared.stages.spool import KILLED, SpoolExecutor, WorkItem
from tests.executor_contract import ExecutorContract, wait_for
from tests.recipes import light
from tests.run_making import make_job, make_run, make_trained_run


class TestSpoolExecutor(ExecutorContract):
    make = "from tests.spool_runners import make"


def start_runner(folder, stage: str = "trainer") -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "services.executor", str(folder), stage], cwd=CHECKOUT)


def test_a_runner_works_on_one_item_and_exits(tmp_path, workplace):
    process = start_runner(tmp_path)
    code, line = SpoolExecutor(tmp_path).execute("trainer", [str(workplace)], lambda stage: None)
    assert (code, line) == (2, f"{workplace / 'job.json'} is missing")
    assert process.wait(10) == 0
    assert list((tmp_path / "trainer").iterdir()) == []


def test_a_spool_that_is_named_by_a_link_says_the_path_of_the_run_itself(tmp_path, workplace):
    """As below macOS's /var and /tmp."""
    (tmp_path / "spool").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "spool")
    process = start_runner(link)
    code, line = SpoolExecutor(link).execute("trainer", [str(workplace)], lambda stage: None)
    assert (code, line) == (2, f"{workplace / 'job.json'} is missing")
    assert process.wait(10) == 0


def test_nobody_looks_often_for_work_or_for_its_end_but_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "LOOK_EVERY_S", 600.0)
    monkeypatch.setattr(spool, "POLL_S", 600.0)
    done = []
    sides = (
        lambda: runner.run_one(tmp_path, "prepare"),
        lambda: done.append(SpoolExecutor(tmp_path).execute("prepare", ["{"], lambda stage: None)),
    )
    for side in sides:
        thread = threading.Thread(target=side, daemon=True)
        thread.start()
        wait_for((tmp_path / "prepare" / spool.BELL).exists if side is sides[0] else lambda: done)
    assert "not JSON" in done[0][1]


def test_nobody_there_is_said_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="is its container running"):
        SpoolExecutor(tmp_path, start_timeout_s=0.3).execute("prepare", ["{}"], lambda stage: None)
    assert list((tmp_path / "prepare").iterdir()) == []


def test_a_runner_that_dies_is_an_exit_code(tmp_path, workplace, monkeypatch):
    process = start_runner(tmp_path)

    def watch(stage):
        if list((tmp_path / "trainer").glob("*.running")):
            process.kill()

    code, line = SpoolExecutor(tmp_path).execute("trainer", [str(workplace)], watch)
    assert (code, line) in [(KILLED, "the executor died"), (2, f"{workplace / 'job.json'} is missing")]


def test_an_executor_that_is_told_to_end_voids_the_run_and_leaves_its_checkpoint(tmp_path, workplace):
    """As `docker stop` tells it: nobody asked for a cancel, so the job is not over."""
    process = start_runner(tmp_path)
    slow = light("def step(self, rows, progress):\n    time.sleep(0.02)\n    return super().step(rows, progress)")
    job = make_job(slow, engine="mlx", budget=Budget(seconds=1000), checkpoints=CheckpointPolicy(every_s=0.3))

    def watch(stage):
        if list((tmp_path / "trainer").glob("*.run/*/checkpoint/latest.json")):
            process.terminate()

    result = run(job, slow, SpoolExecutor(tmp_path), watch)
    assert (result.status, result.void) == (Status.CANCELLED, VoidCause.EXECUTOR_LOST), result.reason
    assert latest(RunDirectory.of(job.run_id).checkpoint_dir).train_seconds > 0


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "large"])
def test_an_answer_that_is_no_small_file_is_not_read(tmp_path, kind):
    item, secret = WorkItem(tmp_path, "item"), tmp_path / "secret"
    secret.write_text('{"code": 0, "line": "somebody else\'s"}')
    make = {
        "link": lambda path: path.symlink_to(secret),
        "pipe": os.mkfifo,
        "folder": Path.mkdir,
        "large": lambda path: path.write_text(secret.read_text() + " " * (1 << 16)),
    }
    make[kind](item.file("done"))
    with pytest.raises(ValueError, match="is no regular file of at most 64 KiB"):
        SpoolExecutor(tmp_path)._look(item)


def test_two_items_go_to_two_runners(tmp_path, workplace):
    runners, answers = [start_runner(tmp_path), start_runner(tmp_path)], []

    def ask(name: str):
        (workplace / name).mkdir()
        answers.append(SpoolExecutor(tmp_path).execute("trainer", [str(workplace / name)], lambda stage: None)[0])

    threads = [threading.Thread(target=ask, args=[name]) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [2, 2]
    assert [process.wait(10) for process in runners] == [0, 0]


DYING = """
import os, sys
from pathlib import Path
from shared.stages.spool import SpoolExecutor
SpoolExecutor(Path(sys.argv[1])).execute(sys.argv[2], [sys.argv[3]], lambda stage: os._exit(0))
"""


def submit_and_die(folder, stage: str, argument: str) -> None:
    subprocess.run([sys.executable, "-c", DYING, str(folder), stage, argument], cwd=CHECKOUT, check=True)
    assert list((folder / stage).glob("*.json"))


def test_an_item_of_somebody_who_died_is_not_worked_on(tmp_path):
    submit_and_die(tmp_path, "prepare", "{}")
    assert start_runner(tmp_path, "prepare").wait(20) == 0
    assert list((tmp_path / "prepare").iterdir()) == []


def test_a_staged_run_of_somebody_who_died_comes_home(tmp_path, workplace):
    run = make_trained_run()
    submit_and_die(tmp_path, "trainer", str(run.path))
    (place,) = (tmp_path / "trainer").glob("*.run/run-1")
    (place / "checkpoint" / "written-by-the-stage").write_text("x")
    assert start_runner(tmp_path).wait(20) == 0
    assert not (run.checkpoint_dir / "written-by-the-stage").exists()
    SpoolExecutor(tmp_path).reclaim()
    assert (run.checkpoint_dir / "written-by-the-stage").exists()
    assert not (run.path / "staged.json").exists()
    assert list((tmp_path / "trainer").iterdir()) == []


def test_a_run_staged_through_another_spool_is_left_to_whoever_has_that(tmp_path, workplace):
    run = make_trained_run()
    submit_and_die(tmp_path / "one", "trainer", str(run.path))
    SpoolExecutor(tmp_path / "two").reclaim()
    assert (run.path / "staged.json").exists()
    SpoolExecutor(tmp_path / "one").reclaim()
    assert not (run.path / "staged.json").exists()


def test_a_run_that_is_being_worked_on_is_not_reclaimed(tmp_path, workplace):
    run, process, seen = make_run(b"not python", run_id="run-2"), start_runner(tmp_path), []

    def watch(stage):
        SpoolExecutor(tmp_path).reclaim()
        seen.append((run.path / "staged.json").exists())

    assert SpoolExecutor(tmp_path).execute("trainer", [str(run.path)], watch)[0] == 1
    assert seen
    assert all(seen)
    assert process.wait(10) == 0
    assert not (run.path / "staged.json").exists()


def test_an_executor_sees_the_one_run_it_works_on_and_no_other(tmp_path, workplace):
    make_run(run_id="other")
    run, process, seen = make_run(b"not python", run_id="run-3"), start_runner(tmp_path), set()

    def watch(stage):
        seen.update(path.name for path in (tmp_path / "trainer").glob("*.run/*"))

    SpoolExecutor(tmp_path).execute("trainer", [str(run.path)], watch)
    assert process.wait(10) == 0
    assert seen == {"run-3"}
