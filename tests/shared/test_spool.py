"""The spool executor keeps the executors' contract, and what only a spool can get wrong."""

import subprocess
import sys
import threading
import time

import pytest

from shared.settings import CHECKOUT
from shared.spool import KILLED, SpoolExecutor
from tests.executor_contract import ExecutorContract


class TestSpoolExecutor(ExecutorContract):
    make = "from tests.spool_takers import make"


def taker(folder, stage: str = "trainer") -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "shared.spool", str(folder), stage], cwd=CHECKOUT)


def test_a_taker_works_on_one_ticket_and_exits(tmp_path, workplace):
    process = taker(tmp_path)
    code, line = SpoolExecutor(tmp_path).execute("trainer", [str(workplace)], lambda stage: None)
    assert (code, line) == (2, f"{workplace / 'job.json'} is missing")
    assert process.wait(10) == 0
    assert list((tmp_path / "trainer").iterdir()) == []


def test_nobody_there_is_said_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="is its container running"):
        SpoolExecutor(tmp_path, take_timeout_s=0.3).execute("trainer", ["x"], lambda stage: None)
    assert list((tmp_path / "trainer").iterdir()) == []


def test_a_taker_that_dies_is_an_exit_code(tmp_path, workplace, monkeypatch):
    process = taker(tmp_path)

    def watch(stage):
        if list((tmp_path / "trainer").glob("*.taken")):
            process.kill()

    code, line = SpoolExecutor(tmp_path).execute("trainer", [str(workplace)], watch)
    assert (code, line) in [(KILLED, "the executor died"), (2, f"{workplace / 'job.json'} is missing")]


def test_two_tickets_go_to_two_takers(tmp_path, workplace):
    takers, answers = [taker(tmp_path), taker(tmp_path)], []

    def ask():
        answers.append(SpoolExecutor(tmp_path).execute("trainer", [str(workplace)], lambda stage: None)[0])

    threads = [threading.Thread(target=ask) for _ in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [2, 2]
    assert [process.wait(10) for process in takers] == [0, 0]


def test_a_ticket_of_somebody_who_died_is_not_worked_on(tmp_path):
    code = (
        "import sys, os; from pathlib import Path; from shared.spool import SpoolExecutor\n"
        "SpoolExecutor(Path(sys.argv[1])).execute('trainer', ['x'], lambda stage: os._exit(0))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=CHECKOUT, check=True)
    assert list((tmp_path / "trainer").glob("*.json"))
    started = time.monotonic()
    assert taker(tmp_path).wait(20) == 0
    assert time.monotonic() - started < 10
    assert list((tmp_path / "trainer").iterdir()) == []
