"""A candidate is ended before the machine has no memory or disk left, however it takes them."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from kernels.records import Status
from services.kernel_lab import watch
from services.kernel_lab.watch import Watch
from tests.services.kernel_lab.test_cheats import CHEATS

FORKS = "import subprocess, time; subprocess.Popen(['sleep', '60']); print(flush=True); time.sleep(60)"


@pytest.fixture
def family():
    with subprocess.Popen([sys.executable, "-c", FORKS], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        watch.end_family(process.pid)


def test_it_and_what_it_started_are_ended_when_little_is_left(family, tmp_path, monkeypatch):
    children = psutil.Process(family.pid).children()
    watching = Watch(family.pid, tmp_path)
    assert watching.reason_now() == ""
    watching.least_memory = 1 << 60
    family.wait(20)
    watching.close()
    assert "less than" in watching.reason
    assert psutil.wait_procs(children, timeout=20)[1] == []


def test_a_full_disk_is_seen_too(tmp_path, monkeypatch):
    monkeypatch.setattr(watch.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 30))
    watching = Watch(1 << 30, tmp_path)
    watching.close()
    assert watching.least_disk == 1 << 29, "half of what there is"
    monkeypatch.setattr(watch.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 28))
    assert "of disk left" in watching.reason_now()


def test_a_candidate_that_is_ended_so_is_told_why(judged, monkeypatch):
    monkeypatch.setattr(Watch, "reason_now", lambda self: "it was ended because of a test")
    found = judged(CHEATS["hangs"], limit_s=30.0)
    assert found.status is Status.RUNTIME_ERROR
    assert found.log == "it was ended because of a test"
