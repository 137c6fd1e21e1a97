"""The keeper of macOS, which runs on Linux too: real processes, killed for real."""

import os
import signal
import subprocess
import sys

import psutil
import pytest

from shared.sandbox.parent_death import KEEPER, dies_with_parent
from shared.settings import CHECKOUT

ENDS_AT_SIGTERM = (
    "import signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (print('told', flush=True), sys.exit(3)))\n"
    "print('ready', flush=True)\n"
    "time.sleep(60)\n"
)
STARTS_ONE = (
    "import subprocess, sys, time, os\n"
    "argv = [sys.executable, '-I', '-S', *sys.argv[1:3], str(os.getpid()), sys.executable, '-c', sys.argv[3]]\n"
    "child = subprocess.Popen(argv, start_new_session=True)\n"
    "time.sleep(60)\n"
)


def kept(code: str, **options) -> subprocess.Popen:
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(KEEPER),
        str(int(signal.SIGKILL)),
        str(os.getpid()),
        sys.executable,
        "-c",
        code,
    ]
    return subprocess.Popen(argv, text=True, **options)


@pytest.mark.parametrize("code", [0, 7])
def test_a_kept_program_ends_with_its_own_code(code):
    assert kept(f"raise SystemExit({code})").wait(20) == code


def test_a_kept_program_that_is_killed_ends_so_for_whoever_started_it():
    assert kept("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)").wait(20) == -signal.SIGSEGV


def test_a_program_that_is_not_there_is_said_in_one_line():
    argv = [sys.executable, "-I", "-S", str(KEEPER), "9", str(os.getpid()), "/no/such/program"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stderr) == (127, "/no/such/program: No such file or directory\n")


def test_sigterm_is_passed_on():
    with kept(ENDS_AT_SIGTERM, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(20) == 3


def test_a_channel_of_the_program_ends_with_the_program_not_with_the_keeper():
    read_end, write_end = os.pipe()
    with kept(f"import os; os.close({write_end}); import time; time.sleep(60)", pass_fds=(write_end,)) as process:
        os.close(write_end)
        assert os.read(read_end, 1) == b""
        process.terminate()
    os.close(read_end)


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_killing_the_parent_ends_the_program_and_the_keeper(by):
    argv = [sys.executable, "-c", STARTS_ONE, str(KEEPER), str(int(by)), ENDS_AT_SIGTERM]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        started = psutil.Process(parent.pid).children(recursive=True)
        assert len(started) == 2
        parent.kill()
        parent.wait()
        assert (parent.stdout.readline() == "told\n") is (by == signal.SIGTERM)
        _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


def test_a_machine_without_a_death_signal_starts_programs_through_the_keeper(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    argv = dies_with_parent(["redis-server"], by=signal.SIGTERM)
    assert argv[3:] == [str(KEEPER), "15", str(os.getpid()), "redis-server"]


def test_an_orphan_that_shares_a_group_ends_alone():
    """A recorder in the group of `make` or of a shell must not take these along."""
    orphan = (
        "import os, sys, time\n"
        "from shared.sandbox.parent_death import exit_with_parent\n"
        "sys.platform = 'darwin'; exit_with_parent(); print(os.getpid(), flush=True); time.sleep(60)\n"
    )
    between = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {orphan!r}])"
    shell = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {between!r}]); print('alive', flush=True)"
    argv = [sys.executable, "-c", shell]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=CHECKOUT) as process:
        started = psutil.Process(int(process.stdout.readline()))
        started.parent().kill()
        assert psutil.wait_procs([started], timeout=10)[1] == []
        assert process.stdout.readline() == "alive\n"
