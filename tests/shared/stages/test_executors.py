"""The native executor keeps the contract, and its own promises about what it inherits."""

import os

import pytest

from shared.stages.executors import NativeExecutor, last_line
from tests.executor_contract import ExecutorContract


class TestNativeExecutor(ExecutorContract):
    make = "from shared.stages.executors import NativeExecutor as make"


def test_nothing_of_a_stage_reaches_the_terminal_of_its_starter(workplace, capfd):
    NativeExecutor().execute("trainer", [str(workplace)], lambda stage: None)
    assert capfd.readouterr() == ("", "")


def test_no_descriptor_stays_open(workplace):
    NativeExecutor().execute("trainer", [str(workplace)], lambda stage: None)
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        NativeExecutor().execute("trainer", [str(workplace)], lambda stage: None)
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), ("\n \n", ""), ("one", "one"), ("Traceback\n  x\nKeyError: 3\n\n", "KeyError: 3")]
)
def test_the_last_line_is_the_last_that_says_something(text, line):
    assert last_line(text) == line
