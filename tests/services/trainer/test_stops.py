"""A run that stood still, with its machine or alone, says nothing of its recipe: void, never `take smaller steps`."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from shared.contracts import Budget, CheckpointPolicy, Status, VoidCause
from shared.machine import stops
from shared.machine.stops import LONGEST_STOP_S, Stops
from tests.recipes import light
from tests.run_making import make_light_run
from tests.trainers import start_trainer, wait_for

SLOW_STEP = "def step(self, rows, progress):\n    time.sleep(0.02)\n    return super().step(rows, progress)"


def test_a_run_whose_processes_were_frozen_is_void_and_leaves_nothing_to_go_on_from(workplace):
    run = make_light_run(light(SLOW_STEP), budget=Budget(seconds=4), checkpoints=CheckpointPolicy(every_s=0.3))
    trainer = start_trainer(run)
    wait_for(lambda: (run.checkpoint_dir / "latest.json").exists())
    family = [psutil.Process(trainer.pid), *psutil.Process(trainer.pid).children(recursive=True)]
    for process in family:
        process.suspend()
    time.sleep(LONGEST_STOP_S + 1)
    for process in family:
        process.resume()
    trainer.communicate(timeout=60)
    record = run.training()
    assert (record.status, record.void) == (Status.CANCELLED, VoidCause.HOST_SLEPT), record.reason
    assert "was stopped for" in record.reason
    assert not run.checkpoint_dir.exists()


@pytest.mark.parametrize(("waited_s", "is_void"), [(0.0, True), (3.0, False)])
def test_waiting_for_a_processor_is_no_stop(monkeypatch, waited_s, is_void):
    """A recipe that can fill all processors would have a run made again whenever it goes badly."""
    late = iter([0.0, LONGEST_STOP_S + 1.0])
    waited = iter([0.0, waited_s])
    monkeypatch.setattr(stops, "seconds_waited", lambda: next(waited))
    monkeypatch.setattr(stops, "time", SimpleNamespace(**vars(time) | {"monotonic": lambda: next(late)}))
    seen, over = Stops(), iter([False, True])
    monkeypatch.setattr(seen._over, "wait", lambda seconds: next(over))
    seen._watch()
    assert bool(seen.reason()) == is_void


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not count it")
def test_a_thread_that_shares_a_processor_has_waited_for_it():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        before, rival = stops.seconds_waited(), subprocess.Popen([sys.executable, "-c", "while True: pass"])
        end = time.monotonic() + 0.6
        while time.monotonic() < end:
            pass
        assert stops.seconds_waited() - before > 0.1
    finally:
        os.sched_setaffinity(0, allowed)
        rival.kill()
        rival.wait()


@pytest.mark.parametrize(("slept_s", "is_void"), [(0.0, False), (LONGEST_STOP_S, False), (9.0, True)])
def test_a_machine_that_was_suspended_is_told_by_its_clocks(monkeypatch, slept_s, is_void):
    asleep = [100.0]
    monkeypatch.setattr(stops, "seconds_asleep", lambda: asleep[0])
    seen = Stops()
    asleep[0] += slept_s
    assert ("slept for 9 s" in seen.reason()) == is_void


@pytest.mark.parametrize(("corrected_s", "slept_s"), [(3.0, 0.0), (0.0, 3.0)])
def test_a_mac_tells_sleep_from_a_wall_clock_that_was_corrected(monkeypatch, corrected_s, slept_s):
    clocks = {"CLOCK_MONOTONIC": 5000.0, "CLOCK_MONOTONIC_RAW": 5000.0, "CLOCK_UPTIME_RAW": 4000.0}
    for name in clocks:
        monkeypatch.setattr(time, name, name, raising=False)
    monkeypatch.setattr(time, "clock_gettime", clocks.get)
    monkeypatch.setattr(sys, "platform", "darwin")
    seen = Stops()
    clocks["CLOCK_MONOTONIC"] += 100 + corrected_s + slept_s
    clocks["CLOCK_MONOTONIC_RAW"] += 100 + slept_s
    clocks["CLOCK_UPTIME_RAW"] += 100
    assert ("slept for 3 s" in seen.reason()) == bool(slept_s)
