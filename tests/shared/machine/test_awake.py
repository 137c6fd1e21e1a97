"""A Mac stays awake while something runs. macOS's program is a stand-in that notes its arguments."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from shared.machine.awake import kept_awake
from shared.stages.executors import NativeExecutor
from tests.fleet import wait_for


@pytest.fixture
def calls(tmp_path, monkeypatch) -> Path:
    """The arguments of each call of `caffeinate`, a line each."""
    program, calls = tmp_path / "bin" / "caffeinate", tmp_path / "calls"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {calls}\nexec sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return calls


def sleeping() -> list[psutil.Process]:
    return psutil.Process().children()


def test_blocks_in_one_another_share_one_assertion_that_ends_with_the_outer_one(calls):
    before = sleeping()
    with kept_awake():
        with kept_awake(), kept_awake():
            pass
        wait_for(calls.exists)
        assert len(sleeping()) == len(before) + 1
    assert sleeping() == before
    assert calls.read_text() == f"-i -s -w {os.getpid()}\n"


def test_every_stage_keeps_a_mac_awake(calls):
    """Also one that prepares text, calibrates or measures kernels, and as soon as it runs."""
    seen = []

    class Waits(NativeExecutor):
        def command(self, stage, arguments):
            wait = f"import os, time\nwhile not os.path.exists({str(calls)!r}): time.sleep(0.01)"
            return [sys.executable, "-c", wait]

    assert Waits(poll_s=0.01).execute("calibrator", [], seen.append) == (0, "")
    assert set(seen) <= {"calibrator"}
    assert calls.read_text() == f"-i -s -w {os.getpid()}\n"
