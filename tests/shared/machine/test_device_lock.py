import os
import subprocess
import sys

import pytest

from shared.machine import device_lock
from shared.machine.device_lock import DeviceBusy, ForeignProcess, check_idle, foreign_processes
from shared.machine.hardware import NvidiaProbe
from shared.settings import CHECKOUT, Settings

NO_PROCESS = 2**22 + 1
HOLD = (
    "import sys\nfrom shared.machine.device_lock import device_lock\n"
    "with device_lock('cpu'):\n    print('held', flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setattr(device_lock, "settings", lambda: Settings(home=tmp_path))


@pytest.fixture
def holder(tmp_path, request):
    environment = {**os.environ, "ARE_HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)}
    argv = [sys.executable, "-c", HOLD, *getattr(request, "param", [])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def two_gpus():
    return [NvidiaProbe(f"NVIDIA H200 {n}", (9, 0), 2**37, f"GPU-{n}", "580") for n in "ab"]


def test_the_second_process_is_told_who_holds_the_device(holder):
    with (
        pytest.raises(DeviceBusy, match=f"cpu is in use by process {holder.pid} of .*another command of this project"),
        device_lock.device_lock("cpu"),
    ):
        pass


@pytest.mark.parametrize("holder", [["services.worker"], ["services.executor"]], indirect=True)
def test_the_workers_experiment_is_called_so_and_nobody_is_told_to_end_it(holder):
    with pytest.raises(DeviceBusy) as busy, device_lock.device_lock("cpu"):
        pass
    assert f"this machine's worker for a job of the queue (process {holder.pid} of" in str(busy.value)
    assert "wait until it has ended (`autoresearch status` shows it), let the queue wait for you" in str(busy.value)
    assert "end it" not in str(busy.value)


def test_a_holder_that_was_killed_holds_nothing(holder):
    assert device_lock.holder("cpu").pid == holder.pid
    holder.kill()
    holder.wait()
    assert device_lock.holder("cpu") is None


def test_the_lock_is_free_when_its_holder_was_killed(holder):
    holder.kill()
    holder.wait()
    with device_lock.device_lock("cpu"):
        pass


def test_a_device_can_be_taken_again_after_it_was_given_back():
    for _ in range(2):
        with device_lock.device_lock("cpu"):
            pass


def test_other_devices_stay_free(holder, monkeypatch):
    monkeypatch.setattr(device_lock, "visible_gpus", two_gpus)
    with device_lock.device_lock("cuda:0"), device_lock.device_lock("cuda:1"):
        pass


def test_mps_and_metal_are_one_device():
    assert device_lock.lock_path("mps") == device_lock.lock_path("metal")


def test_a_gpu_keeps_its_lock_under_another_number(monkeypatch):
    monkeypatch.setattr(device_lock, "visible_gpus", two_gpus)
    second = device_lock.lock_path("cuda:1")
    monkeypatch.setattr(device_lock, "visible_gpus", lambda: two_gpus()[1:])
    assert device_lock.lock_path("cuda:0") == second


def test_a_stranger_on_the_gpu_is_named_and_our_own_tree_is_not(monkeypatch):
    monkeypatch.setattr(device_lock, "visible_gpus", two_gpus)
    monkeypatch.setattr(device_lock, "computing_on", lambda uuid: [os.getpid(), 1, NO_PROCESS])
    assert [process.pid for process in foreign_processes("cuda:0")] == [1]
    with pytest.raises(DeviceBusy, match=r"shared with process 1 of \S+ .*took it without its lock.*ask its owner"):
        check_idle("cuda:0")


def test_a_cpu_is_never_shared():
    assert foreign_processes("cpu") == []
    check_idle("cpu")


def test_a_driver_that_does_not_tell_means_nobody():
    assert device_lock.computing_on("GPU-of-no-machine") == []


def test_a_foreign_process_reads_as_a_line():
    assert str(ForeignProcess(7, "python train.py")) == "process 7 (python train.py)"
    assert str(ForeignProcess(7, "python train.py", "ann")) == "process 7 of ann (python train.py)"
