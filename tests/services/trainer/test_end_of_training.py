"""The end of training: how the weights leave the recipe's process, and that nothing of it is left."""

import sys

import psutil
import pytest

from shared.contracts import Budget, CheckpointPolicy, Integrity, Status
from shared.runs.checkpoint import latest
from tests.recipes import LIGHT, light
from tests.run_making import make_light_run
from tests.trainers import start_trainer, train, wait_for


def test_a_checkpoint_is_worth_the_time_until_it_was_on_disk(workplace):
    """Else a recipe could put later weights into an early checkpoint, die, and be resumed with the time it had left."""
    body = """
def state(self):
    if 0.1 < getattr(self, "progress", 0) < 1:
        time.sleep(1)
    return super().state()

def step(self, rows, progress):
    self.progress = progress
    return super().step(rows, progress)
"""
    run = make_light_run(light(body), budget=Budget(seconds=6), checkpoints=CheckpointPolicy(every_s=1))
    process = start_trainer(run)
    record = wait_for(lambda: latest(run.checkpoint_dir))
    process.kill()
    process.wait()
    assert record.train_seconds >= 2


HAND_OVERS = {
    "a state whose names change": (
        """
def state(self):
    state = super().state()
    if self.noise > 0:
        state["model"]["more"] = state["model"]["embed"]
    return state
def load(self, state):
    super().load(state)
    self.noise = mx.zeros(())
""",
        Status.INVALID,
        "arrays in model",
    ),
    "a state whose shapes change": (
        """
def state(self):
    state = super().state()
    if getattr(self, "late", False):
        state["model"]["embed"] = state["model"]["embed"][:-1]
    return state
def step(self, rows, progress):
    self.late = 0.5 < progress < 1
    return super().step(rows, progress)
""",
        Status.INVALID,
        "is missing or of another shape",
    ),
    "a process that dies in the hand-over": (
        """
def state(self):
    if getattr(self, "late", False):
        __import__("os").abort()
    return super().state()
def step(self, rows, progress):
    self.late = 0.5 < progress < 1
    return super().step(rows, progress)
""",
        Status.CRASHED,
        "SIGABRT",
    ),
    "weights that arrive late": (
        """
def state(self):
    if getattr(self, "late", False):
        time.sleep(1000)
    return super().state()
def step(self, rows, progress):
    self.late = 0.5 < progress < 1
    return super().step(rows, progress)
""",
        Status.TIMED_OUT,
        "had not handed its weights over",
    ),
    "a state of a type that cannot be stored": (
        """
def state(self):
    state = super().state()
    state["model"]["complex"] = mx.zeros(2, dtype=mx.complex64)
    return state
""",
        Status.INVALID,
        "cannot be stored",
    ),
    "a state too large for this machine": (
        """
def state(self):
    state = super().state()
    state["model"]["huge"] = mx.broadcast_to(mx.zeros(1), (1 << 20, 1 << 24))
    return state
""",
        Status.OUT_OF_MEMORY,
        "of this machine's memory",
    ),
}


@pytest.mark.parametrize("name", HAND_OVERS)
def test_a_hand_over_that_goes_wrong_is_one_line_with_the_right_status(workplace, name):
    body, status, reason = HAND_OVERS[name]
    run = make_light_run(light(body), budget=Budget(seconds=2))
    record, code = train(run)
    assert (record.status, code) == (status, 1), record.reason
    assert reason in record.reason
    assert "\n" not in record.reason
    assert latest(run.checkpoint_dir) is None


def test_periodic_checkpoints_stay_when_the_final_hand_over_fails(workplace):
    body = """
def state(self):
    if getattr(self, "late", False):
        __import__("os").abort()
    return super().state()
def step(self, rows, progress):
    self.late = 0.8 < progress < 1
    return super().step(rows, progress)
"""
    run = make_light_run(light(body), budget=Budget(seconds=3), checkpoints=CheckpointPolicy(every_s=1))
    record, _ = train(run)
    assert record.status is Status.CRASHED
    assert 1 <= latest(run.checkpoint_dir).train_seconds < 2.5


TRAIN_ON = b"""
import threading
import services.trainer.session as session

class Early(session.Loop):
    def run(self):
        one = self._step(self._next_batch())
        state = self.recipe.state()
        def go_on():
            batch = one
            while True:
                batch = self._step(batch)
                self.saver.hand_over.fill({"model": state["model"]})
        threading.Thread(target=go_on, daemon=True).start()
        return 1

session.Loop = Early
"""


def test_who_says_trained_early_and_trains_on_is_ended_at_that_moment(workplace):
    """What it went on to learn is not in the checkpoint, and no process is left to learn it."""
    run = make_light_run(LIGHT.encode() + TRAIN_ON, budget=Budget(seconds=30))
    record, _ = train(run)
    assert record.training_seconds < 10
    assert record.num_steps <= 1


FORK_CHAIN = b"""
import os
if os.fork() == 0:
    os.setsid()
    while True:  # each link lives for a moment, and is another process than the one that was looked for
        if os.fork():
            os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "darwin", reason="only Linux has process namespaces, and adopts orphans")
def test_a_chain_of_forks_does_not_outlive_the_run(workplace):
    run = make_light_run(FORK_CHAIN + LIGHT.encode())
    record, _ = train(run)
    assert record.status is Status.OK, record.reason
    assert [pid for pid in psutil.pids() if _has_its_home_in(pid, run.path)] == []


def _has_its_home_in(pid: int, folder) -> bool:
    try:
        return psutil.Process(pid).environ().get("HOME", "").startswith(str(folder))
    except psutil.Error:
        return False


def test_the_record_says_how_complete_the_isolation_was(workplace):
    run = make_light_run()
    record, _ = train(run)
    chosen = {choice.what: choice.chosen for choice in record.choices}
    assert {"sandbox", "process isolation"} <= set(chosen)
    if chosen["sandbox"] == "landlock+seccomp" and chosen["process isolation"] != "session":
        assert record.integrity is Integrity.FULL


def test_telemetry_that_is_forged_is_rejected(workplace):
    forge = b"""
import services.trainer.session as session
from services.trainer.messages import Steps
real = session.Session._send_steps
session.Session._send_steps = lambda self, lines: real(self, (*lines, lines[-1]))
"""
    record, _ = train(make_light_run(LIGHT.encode() + forge))
    assert record.status is Status.REJECTED
    assert "telemetry of step" in record.reason


def test_a_full_disk_that_only_the_recipe_saw_is_the_recipes_own_crash(workplace):
    body = "def step(self, rows, progress):\n    raise OSError(28, 'No space left on device')"
    record, code = train(make_light_run(light(body)))
    assert code == 1
    assert record.status in (Status.INVALID, Status.CRASHED)
