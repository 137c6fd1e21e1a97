"""What every executor must do, with real stages on the tiny dataset. A subclass says how one is made.

class TestNativeExecutor(ExecutorContract):
    make = "from shared.stages.executors import NativeExecutor as make"
"""

import json
import secrets
import signal
import subprocess
import sys
import time

import psutil
import pytest

from shared.contracts import Budget, Status
from shared.data.dataset import open_dataset
from shared.settings import CHECKOUT
from tests.recipes import BROKEN, LIGHT, light
from tests.run_making import make_light_run

DAEMON = """
def step(self, rows, progress):
    if not hasattr(self, "daemon"):
        import subprocess
        self.daemon = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    time.sleep(0.01)
    return super().step(rows, progress)
"""
STARTER = """
import sys
{make}
make().execute("trainer", [sys.argv[1]], lambda stage: None)
"""


class Enough(Exception):
    """Raised by a watch that wants no more."""


def processes_of(run) -> list[psutil.Process]:
    """Whatever has the run, or a staged copy of it, in its command line or as its scratch folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("TMPDIR", "")]
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue
        if alive and any(f"/{run.path.name}" in word for word in words):
            found.append(process)
    return found


def wait_for(condition, timeout_s: float = 60.0):
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return value


def is_gone(process: psutil.Process) -> bool:
    """Also when nobody has collected it yet, as an orphan that this process has adopted."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def has_trained(run) -> bool:
    return run.metrics_file.exists() and run.metrics_file.stat().st_size > 0


def endless(name: str):
    return make_light_run(light(DAEMON), run_id=f"{name}-{secrets.token_hex(4)}", budget=Budget(seconds=1000))


class ExecutorContract:
    make: str
    """imports a function or class `make` that gives an executor"""

    @pytest.fixture
    def executor(self, workplace):
        namespace = {}
        exec(self.make, namespace)
        return namespace["make"]()

    def test_a_stage_that_ends_well_is_code_0(self, executor):
        pack = {"dataset": open_dataset("words").ref.model_dump(), "seq_len": 64}
        code, _ = executor.execute("prepare", [json.dumps(pack)], lambda stage: None)
        assert code == 0

    def test_a_stage_that_ends_badly_is_code_1_with_its_record(self, executor):
        run = make_light_run(BROKEN["does not parse"][0])
        code, _ = executor.execute("trainer", [str(run.path)], lambda stage: None)
        assert code == 1
        assert run.training().status is Status.INVALID

    @pytest.mark.parametrize("stage", ["trainer", "evaluator"])
    def test_a_stage_that_cannot_start_is_code_2_and_one_line(self, executor, workplace, stage):
        code, line = executor.execute(stage, [str(workplace)], lambda stage: None)
        assert code == 2
        assert line == f"{workplace / 'job.json'} is missing"

    def test_a_stage_is_watched_while_it_runs_and_leaves_nothing_behind(self, executor):
        run, watched = make_light_run(LIGHT.encode(), run_id=f"watched-{secrets.token_hex(4)}"), []
        code, _ = executor.execute("trainer", [str(run.path)], watched.append)
        assert code == 0
        assert watched
        assert set(watched) == {"trainer"}
        assert processes_of(run) == []
        assert not list(run.path.glob("scratch*"))

    def test_an_exception_of_the_watch_ends_the_whole_tree_once_the_record_is_written(self, executor):
        run = endless("cancelled")

        def watch(stage):
            if has_trained(run):
                raise Enough

        with pytest.raises(Enough):
            executor.execute("trainer", [str(run.path)], watch)
        assert run.training().status is Status.CANCELLED
        wait_for(lambda: not processes_of(run), timeout_s=5)

    def test_a_stage_that_is_killed_is_neither_0_nor_2(self, executor):
        run = endless("killed")

        def watch(stage):
            if has_trained(run):
                for process in processes_of(run):
                    process.kill()

        code, _ = executor.execute("trainer", [str(run.path)], watch)
        assert code not in (0, 2)
        assert run.training() is None

    def test_a_stage_dies_with_its_starter(self, executor):
        run = endless("orphaned")
        argv = [sys.executable, "-c", STARTER.format(make=self.make), str(run.path)]
        starter = subprocess.Popen(argv, cwd=CHECKOUT)
        wait_for(lambda: has_trained(run))
        assert len(processes_of(run)) > 1
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        wait_for(lambda: not processes_of(run), timeout_s=10)
        assert run.training() is None or run.training().status is Status.CANCELLED
