"""When a process began, whatever the wall clock says."""

import os
import subprocess
import sys
import time

import pytest

from shared.machine import births
from shared.machine.births import began_at, birth_of


def test_a_process_that_began_later_has_a_later_beginning():
    before = began_at(os.getpid())
    time.sleep(0.02)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(20)"]) as child:
        after = began_at(child.pid)
        child.kill()
    assert 0 < before <= after


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_each_process_has_a_birth_of_its_own_whatever_its_name():
    name = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'a) S 1 (b', 0, 0, 0); print(1, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        birth = birth_of(child.pid)
        assert birth == birth_of(child.pid)
        child.kill()
    assert int(birth.split()[1]) > int(birth_of(os.getpid()).split()[1])


def test_of_a_process_that_is_gone_nothing_is_told(monkeypatch, tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    assert (birth_of(child.pid), began_at(child.pid)) == ("", 0.0)
    monkeypatch.setattr(births, "BOOT_ID", tmp_path / "missing")
    assert birth_of(os.getpid()) == ""
