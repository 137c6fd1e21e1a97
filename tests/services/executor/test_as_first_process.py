"""The executor as process 1 of a namespace, which is what a container makes of it, without a container engine."""

import subprocess
import sys

import pytest

from shared.contracts import Integrity, Status
from shared.settings import CHECKOUT
from shared.stages.spool import SpoolExecutor
from tests.recipes import HONEST
from tests.run_making import make_run, make_trained_run

AS_FIRST = ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]


def is_permitted() -> bool:
    try:
        return subprocess.run([*AS_FIRST, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not is_permitted(), reason="making a process namespace needs root and util-linux")

LIVES_ON = b"""
import os, subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    while True:  # each link lives for a moment, and is another process than the one that was looked for
        if os.fork():
            os._exit(0)
"""


def execute(folder, stage: str, run) -> tuple[int, str]:
    """Through an executor that is the first process of a namespace; whatever is left in it ends the test late."""
    argv = [*AS_FIRST, sys.executable, "-m", "services.executor", str(folder), stage]
    executor = subprocess.Popen(argv, cwd=CHECKOUT)
    try:
        return SpoolExecutor(folder).execute(stage, [str(run.path)], lambda stage: None)
    finally:
        assert executor.wait(20) == 0


def test_a_stage_ends_everything_but_itself_and_the_executor(tmp_path, workplace):
    run = make_run(LIVES_ON + HONEST.encode())
    assert execute(tmp_path, "trainer", run) == (0, "")
    record = run.training()
    assert record.status is Status.OK, record.reason
    assert {choice.what: choice.chosen for choice in record.choices}["process isolation"] == "container"
    assert record.integrity in (Integrity.FULL, Integrity.NONE)


@pytest.mark.parametrize(("alone", "status"), [(True, Status.OK), (False, Status.REJECTED)])
def test_the_processes_of_an_evaluation_follow_each_other(tmp_path, workplace, alone, status):
    """One that is not alone when it is to be shown rows ends there."""
    run = make_trained_run((b"" if alone else LIVES_ON) + HONEST.encode())
    execute(tmp_path, "evaluator", run)
    assert run.evaluation().status is status, run.evaluation()
