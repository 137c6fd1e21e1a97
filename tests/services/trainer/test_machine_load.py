"""What else the processors did while a run trained."""

import multiprocessing
import time

import pytest

from services.trainer.machine_load import Load, LoadWatch
from shared.contracts import Unranked
from shared.experiment.run import why_unranked
from tests.run_making import make_job
from tests.shared.experiment.test_run import SCORED, TRAINED


def compute(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_what_our_own_family_computes_is_not_foreign(monkeypatch):
    """The machine of this test is busy too: so it is asked how much a busy child adds, not how much there is."""
    watch = LoadWatch()
    child = multiprocessing.get_context("fork").Process(target=compute, args=(0.5,))
    child.start()
    child.join()
    own_s = watch_own_seconds(watch)
    assert own_s >= 0.45
    load = watch.load()
    assert 0 <= load.foreign <= 1
    assert 0 <= load.stolen <= 1


def watch_own_seconds(watch: LoadWatch) -> float:
    from services.trainer import machine_load

    return machine_load._own_seconds() - watch.own_s


class Counters:
    """psutil.cpu_times of a made-up machine."""

    _fields = ("user", "system", "idle", "iowait", "steal", "guest")

    def __init__(self, user, idle, steal, guest=0.0):
        self.user, self.system, self.idle, self.iowait, self.steal, self.guest = user, 0.0, idle, 0.0, steal, guest


def test_shares_are_of_all_processor_time_and_guests_are_not_counted_twice(monkeypatch):
    from services.trainer import machine_load

    counters = iter([Counters(0, 0, 0), Counters(user=60, idle=30, steal=10, guest=50)])
    own = iter([0.0, 40.0])
    monkeypatch.setattr(machine_load.psutil, "cpu_times", lambda: next(counters))
    monkeypatch.setattr(machine_load, "_own_seconds", lambda: next(own))
    monkeypatch.setattr(machine_load, "_seconds_of_living_children", lambda: 0.0)
    assert LoadWatch().load() == Load(foreign=pytest.approx(0.2), stolen=pytest.approx(0.1))


@pytest.mark.parametrize(
    ("device", "foreign", "stolen", "marked"),
    [("cpu", 0.3, 0.0, True), ("cpu", 0.0, 0.2, True), ("cpu", 0.05, 0.04, False), ("cuda:0", 0.9, 0.0, False)],
)
def test_a_run_beside_other_load_is_not_ranked(workplace, device, foreign, stolen, marked):
    from shared.contracts import Budget

    training = TRAINED.model_copy(update={"foreign_cpu": foreign, "stolen_cpu": stolen})
    job = make_job(device=device, budget=Budget(seconds=300))
    assert (Unranked.BUSY_MACHINE in why_unranked(job, training, SCORED)) == marked
