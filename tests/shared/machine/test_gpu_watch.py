"""How long a GPU computed, with a driver that says what the test tells it, and a clock of the test's."""

import os
from threading import Event
from types import SimpleNamespace

import pytest

from shared.machine import gpu_watch
from shared.machine.gpu_watch import GpuWatch


class Driver:
    """Of two GPUs: the share of time that the first computes, and who computes on the second."""

    def __init__(self) -> None:
        self.now, self.share, self.pids = 100.0, 0.0, set[int]()

    def computing_since(self, uuid: str, since_us: int) -> tuple[set[int], int]:
        assert uuid == "GPU-b"
        return self.pids, since_us + 1


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(
        gpu_watch, "visible_gpus", lambda: [SimpleNamespace(uuid="GPU-a"), SimpleNamespace(uuid="GPU-b")]
    )
    monkeypatch.setattr(gpu_watch, "monotonic", lambda: driver.now)
    monkeypatch.setattr(gpu_watch, "busy_share", lambda uuid: driver.share)
    monkeypatch.setattr(gpu_watch, "computing_since", driver.computing_since)
    return driver


def look(watch: GpuWatch, driver: Driver, seconds: float, share: float | None = 0.0) -> None:
    driver.now, driver.share = driver.now + seconds, share
    watch.look()


def test_the_seconds_in_which_the_gpu_computed_add_up_and_idle_ones_do_not(driver):
    watch = GpuWatch("cuda:0")
    for seconds, share in ((10, 0.0), (4, 1.0), (2, 0.5), (60, 0.0)):
        look(watch, driver, seconds, share)
    assert watch.busy_s() == pytest.approx(5.0)
    watch.close()


def test_a_driver_that_once_refused_to_tell_leaves_nothing_known(driver):
    watch = GpuWatch("cuda:0")
    look(watch, driver, 4, 1.0)
    look(watch, driver, 1, None)
    look(watch, driver, 4, 1.0)
    assert watch.busy_s() is None


@pytest.mark.parametrize("device", ["cpu", "metal", "cuda:7"])
def test_of_a_device_that_is_no_cuda_gpu_of_this_machine_nothing_is_known(driver, device):
    watch = GpuWatch(device)
    look(watch, driver, 4, 1.0)
    assert watch.busy_s() is None
    assert not watch.strayed


def test_whoever_goes_on_computing_on_another_gpu_strays_and_once_is_no_reason(driver):
    watch = GpuWatch("cuda:0")
    driver.pids = {os.getpid()}
    for _ in range(2):
        look(watch, driver, gpu_watch.OTHERS_EVERY_S)
        assert not watch.strayed
    look(watch, driver, gpu_watch.OTHERS_EVERY_S)
    assert watch.strayed


def test_others_may_compute_on_their_gpu(driver):
    watch = GpuWatch("cuda:0")
    driver.pids = {1}
    for _ in range(5):
        look(watch, driver, gpu_watch.OTHERS_EVERY_S)
    assert not watch.strayed


def test_where_there_is_no_driver_nothing_is_known_and_nothing_fails():
    assert gpu_watch.busy_share("GPU-of-no-machine") is None
    assert gpu_watch.computing_since("GPU-of-no-machine", 0) == (set(), 0)


@pytest.mark.gpu
def test_a_device_that_multiplies_is_seen_to_compute_and_an_idle_one_is_not():
    import torch

    watch = GpuWatch("cuda:0")
    matrix = torch.randn(8192, 8192, device="cuda:0")
    torch.cuda.synchronize()
    before, worked_s = watch.busy_s() or 0.0, 0.0
    while worked_s < 4.0:
        begun = gpu_watch.monotonic()
        matrix @ matrix
        torch.cuda.synchronize()
        worked_s += gpu_watch.monotonic() - begun
    busy_s = (watch.busy_s() or 0.0) - before
    assert busy_s == pytest.approx(worked_s, abs=1.5)
    Event().wait(2.0)  # the driver's window
    before = watch.busy_s() or 0.0
    Event().wait(3.0)
    assert (watch.busy_s() or 0.0) - before < 0.5
    watch.close()
