"""What else the processors did while a run trained."""

import os
import subprocess
import sys

import psutil
import pytest

from services.trainer import machine_load
from services.trainer.machine_load import Load, LoadWatch
from services.trainer.measured import Measured
from services.trainer.supervisor import _record_of
from shared.contracts import Budget, Status, Unranked
from shared.experiment.run import why_unranked
from shared.sandbox.ending import Isolation, strongest
from shared.sandbox.launch import Ended
from shared.sandbox.processes import start
from tests.recipes import light
from tests.run_making import make_job, make_light_run
from tests.shared.experiment.test_run import SCORED, TRAINED
from tests.trainers import train, wait_for

COMPUTES = """
import time
while time.process_time() < 0.7: pass
print("done", flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("isolation", [Isolation.SESSION, strongest()])
def test_what_our_own_family_computes_is_not_foreign(tmp_path, isolation):
    """Also in a namespace, whose processes' times are forgotten when they end."""
    before, log = machine_load._family_seconds(), tmp_path / "output.log"
    with start([sys.executable, "-c", COMPUTES], output=log, env_extra={}, isolation=isolation):
        wait_for(lambda: log.exists() and "done" in log.read_text())
        assert machine_load._family_seconds() - before >= 0.65


class Counters:
    """psutil.cpu_times of a made-up machine."""

    _fields = ("user", "system", "idle", "iowait", "steal", "guest")

    def __init__(self, user, idle, steal, guest=0.0):
        self.user, self.system, self.idle, self.iowait, self.steal, self.guest = user, 0.0, idle, 0.0, steal, guest


def test_shares_are_of_all_processor_time_and_guests_are_not_counted_twice(monkeypatch):
    now, counters, own = (
        [0.0],
        iter([Counters(0, 0, 0), Counters(user=60, idle=30, steal=10, guest=50)]),
        iter([0.0, 40.0]),
    )
    monkeypatch.setattr(machine_load.psutil, "cpu_times", lambda: next(counters))
    monkeypatch.setattr(machine_load, "_family_seconds", lambda: next(own))
    monkeypatch.setattr(machine_load, "_others", lambda: None)
    monkeypatch.setattr(machine_load, "monotonic", lambda: now[0])
    watch = LoadWatch()
    watch.look()
    assert watch.load is None
    now[0] = 0.6
    watch.look()
    watch.look()  # too soon for a second look, for which there are no numbers here
    assert watch.load == Load(foreign=pytest.approx(0.2), stolen=pytest.approx(0.1))


SHEDS = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(3):
    if os.fork() == 0:
        while time.process_time() < 0.3: pass
        os._exit(0)
try:
    os.wait()  # returns when all have ended, and collects none
except ChildProcessError:
    pass
print("done", flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(machine_load._others() is None, reason="other processes cannot be seen here")
def test_what_a_recipe_sheds_in_children_that_nobody_collects_is_not_foreign(tmp_path, monkeypatch):
    """It could make its run one that is tried again, whenever it is going to be bad."""
    now, machine, log = [0.0], [Counters(user=0, idle=0, steal=0)], tmp_path / "output.log"
    monkeypatch.setattr(machine_load, "monotonic", lambda: now[0])
    monkeypatch.setattr(machine_load.psutil, "cpu_times", lambda: machine[-1])
    watch = LoadWatch()
    with start([sys.executable, "-c", SHEDS], output=log, env_extra={}, isolation=strongest()):
        wait_for(lambda: log.exists() and "done" in log.read_text())
        assert machine_load._family_seconds() - watch.own_s < 0.5
        seen = machine_load._others()
        monkeypatch.setattr(machine_load, "_others", lambda: seen)  # who else computes here goes on meanwhile
        others_s = machine_load._grown_seconds(watch.others, seen)
        machine.append(Counters(user=others_s + 0.9, idle=10, steal=0))
        now[0] = 0.6
        watch.look()
    assert watch.load.foreign == pytest.approx(others_s / (others_s + 10.9))


@pytest.mark.skipif(machine_load._others() is None, reason="other processes cannot be seen here")
def test_what_somebody_else_computes_is_seen(tmp_path):
    before, log = machine_load._others(), tmp_path / "output.log"
    leaves = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {COMPUTES!r}])"
    with open(log, "w") as output:
        subprocess.run([sys.executable, "-c", leaves], stdout=output, start_new_session=True, check=True)
    wait_for(lambda: "done" in log.read_text())
    found = [one for one in psutil.Process(1).children() if COMPUTES in one.cmdline()]
    wait_for(lambda: machine_load._grown_seconds(before, machine_load._others()) >= 0.65)  # the kernel counts in ticks
    for one in found:
        one.kill()


def test_who_ends_uncollected_takes_nothing_away_from_what_others_used():
    before = {(10, 1): 90_000, (11, 1): 500}
    now = {(11, 1): 700, (12, 5): 100, (10, 9): 50}  # 10 ended, and its number was given away again
    ticks = os.sysconf("SC_CLK_TCK")
    assert machine_load._grown_seconds(before, now) == pytest.approx((200 + 100 + 50) / ticks)


@pytest.mark.parametrize(
    ("device", "foreign", "stolen", "marked"),
    [("cpu", 0.3, 0.0, True), ("cpu", 0.0, 0.2, True), ("cpu", 0.05, 0.04, False), ("cuda:0", 0.9, 0.0, False)],
)
def test_a_run_beside_other_load_is_not_ranked(workplace, device, foreign, stolen, marked):
    training = TRAINED.model_copy(update={"foreign_cpu": foreign, "stolen_cpu": stolen})
    job = make_job(device=device, budget=Budget(seconds=300))
    assert (Unranked.BUSY_MACHINE in why_unranked(job, training, SCORED)) == marked


@pytest.mark.parametrize("foreign", [0.4, 0.0, None])
def test_a_run_that_is_late_while_others_had_the_processors_is_told_so(workplace, foreign):
    measured = Measured(foreign_cpu=foreign, stolen_cpu=foreign)
    end = Ended(Status.TIMED_OUT, "trained 6.6 s on a budget of 3 s in 1 steps: take smaller steps")
    record = _record_of(end, make_job(), measured, stopped="")
    assert record.status is Status.TIMED_OUT
    assert ("others had 80% of the processors" in record.reason) == bool(foreign)


def test_how_busy_a_machine_was_is_recorded_also_of_a_run_that_was_killed(workplace):
    body = "def step(self, rows, progress):\n    if 0.4 < progress < 0.49:\n        time.sleep(1000)\n"
    body += "    return super().step(rows, progress)"
    record, _ = train(make_light_run(light(body), budget=Budget(seconds=1)))
    assert record.foreign_cpu is not None
    assert record.status is Status.TIMED_OUT, record.reason
