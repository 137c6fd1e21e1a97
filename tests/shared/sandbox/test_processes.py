import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from shared.sandbox import output_log, processes
from shared.sandbox.channel import Channel, ChannelClosed
from shared.sandbox.processes import child_environment, exit_reason, start
from shared.settings import CHECKOUT


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ended, or does so in time."""
    try:
        psutil.Process(pid).wait(within_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return True


# starting


def test_a_child_has_its_own_session_no_stdin_and_a_private_home(tmp_path, monkeypatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "ARE_TRACKING_URI", "SSH_AUTH_SOCK"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    code = "import json, os, sys\nprint(json.dumps([dict(os.environ), os.getsid(0), sys.stdin.read(), os.getcwd()]))"
    with start(python(code), output=tmp_path / "output.log", env_extra={"TRITON_CACHE_DIR": "/cache"}) as child:
        assert child.wait(20) == 0
    environment, session, stdin, folder = json.loads((tmp_path / "output.log").read_text())
    assert session == child.pid
    assert stdin == ""
    assert folder == str(CHECKOUT)
    assert "secret" not in environment.values()
    assert environment["TRITON_CACHE_DIR"] == "/cache"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert Path(environment["HOME"]).is_relative_to(tmp_path)
    assert Path(environment["TMPDIR"]).is_dir()


def test_compiled_kernels_lie_in_the_childs_own_folder_though_its_parent_has_one(tmp_path, monkeypatch):
    """PyTorch writes the folder of its compiler into the environment of whoever asks for it, which the lab does."""
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "/tmp/of_the_parent")
    environment = child_environment(tmp_path, {})
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        assert Path(environment[name]).is_relative_to(tmp_path), name


def test_only_named_files_reach_the_child(tmp_path):
    with open(CHECKOUT / "pyproject.toml") as kept, open(CHECKOUT / "pyproject.toml") as passed:
        os.set_inheritable(kept.fileno(), True)
        code = "import os; print(sorted(map(int, os.listdir('/proc/self/fd'))))"
        if sys.platform == "darwin":
            code = code.replace("/proc/self/fd", "/dev/fd")
        with start(python(code), output=tmp_path / "log", env_extra={}, pass_fds=[passed.fileno()]) as child:
            child.wait(20)
        descriptors = json.loads((tmp_path / "log").read_text())
        assert passed.fileno() in descriptors
        assert kept.fileno() not in descriptors


def test_a_program_that_does_not_exist_ends_with_its_error(tmp_path):
    with start(["/no/such/program"], output=tmp_path / "log", env_extra={}) as child:
        assert child.wait(20) != 0
    assert "No such file" in (tmp_path / "log").read_text()


def test_a_child_dies_with_its_supervisor(tmp_path):
    supervisor = subprocess.Popen(
        python(
            "import sys, time\nfrom pathlib import Path\nfrom shared.sandbox.processes import start\n"
            f"child = start([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(1000)'],"
            f" output=Path({str(tmp_path / 'log')!r}), env_extra={{}})\n"
            f"while Path({str(tmp_path / 'log')!r}).stat().st_size == 0: time.sleep(0.01)\n"
            "print(child.pid, flush=True)\ntime.sleep(1000)"
        ),
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(supervisor.stdout.readline())
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    assert gone(pid)


# ending

FAMILY = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def say_and_sleep():
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(1000)
if (middle := os.fork()) == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        say_and_sleep()
    os._exit(0)
os.waitpid(middle, 0)
if os.fork() == 0:
    say_and_sleep()
os.write(1, b"%d\\n" % os.getpid())
"""

SUPERVISOR = """
import sys, time
from pathlib import Path
from shared.sandbox.processes import start
from shared.sandbox.ending import adopt_orphans
adopt_orphans()
log = Path(sys.argv[1])
child = start([sys.executable, '-c', sys.argv[2]], output=log, env_extra={})
while len(log.read_text().split()) < 3:
    time.sleep(0.01)
if sys.argv[3] == 'ended':
    child.wait(10)
began = time.monotonic()
child.kill()
print(time.monotonic() - began, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process the orphans below it")
@pytest.mark.parametrize("ending", ["running", "ended"])
def test_daemons_and_grandchildren_end_with_the_tree(tmp_path, ending):
    log = tmp_path / "log"
    family = FAMILY + ("time.sleep(1000)" if ending == "running" else "")
    supervisor = [*python(SUPERVISOR), str(log), family, ending]
    done = subprocess.run(supervisor, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert float(done.stdout) < 5, done.stderr
    pids = [int(word) for word in log.read_text().split()]
    assert len(pids) == 3
    assert all(gone(pid, 0.1) for pid in pids)


def test_a_tree_that_keeps_forking_is_ended(tmp_path):
    code = (
        "import os, time\n"
        "for _ in range(400):\n"
        "    if os.fork() == 0:\n"
        "        for _ in range(3): os.fork()\n"
        "        time.sleep(1000)\n"
        "    time.sleep(0.001)\n"
    )
    with start(python(code), output=tmp_path / "log", env_extra={}) as child:
        while not psutil.Process(child.pid).children():
            pass
    assert child.exit_reason() == "killed by its supervisor"
    assert not [process for process in psutil.process_iter() if lives_in(process, session=child.pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells no other clock")
def test_what_outlives_its_parent_is_ended_though_the_clock_was_set_back_meanwhile(tmp_path, monkeypatch):
    code = "import os, time\nif os.fork() == 0:\n    print(os.getpid(), flush=True)\n    time.sleep(1000)\nos._exit(0)"
    before = psutil.Process.create_time
    with start(python(code), output=tmp_path / "log", env_extra={}) as child:
        child.wait(20)
        while not (said := (tmp_path / "log").read_text().strip()):
            pass
        monkeypatch.setattr(psutil.Process, "create_time", lambda process: before(process) - 3600)
    monkeypatch.undo()
    assert gone(int(said), 1.0)


def lives_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


def test_another_child_survives(tmp_path):
    sleeper = python("import time; time.sleep(1000)")
    with start(sleeper, output=tmp_path / "a", env_extra={}) as one:
        with start(sleeper, output=tmp_path / "b", env_extra={}):
            pass
        assert one.poll() is None


def test_waiting_has_an_end(tmp_path):
    sleeper = python("import time; time.sleep(1000)")
    with (
        start(sleeper, output=tmp_path / "log", env_extra={}) as child,
        pytest.raises(TimeoutError, match="still runs"),
    ):
        child.wait(0.01)


@pytest.mark.parametrize(
    ("returncode", "line"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-signal.SIGSEGV, "SIGSEGV (Segmentation fault)"),
        (-signal.SIGKILL, "SIGKILL not sent by us: often the kernel's out-of-memory killer"),
        (-200, "signal 200"),
    ],
)
def test_exit_reasons_are_lines_for_people(returncode, line):
    if sys.platform == "linux" or returncode != -signal.SIGSEGV:
        assert exit_reason(returncode) == line


def test_an_oom_kill_is_told_from_our_own(tmp_path, monkeypatch):
    counts = iter([4, 5, 5])
    monkeypatch.setattr(processes, "_oom_kills", lambda: next(counts))
    with start(python("import os; os.kill(os.getpid(), 9)"), output=tmp_path / "log", env_extra={}) as child:
        child.wait(20)
        assert child.was_oom_killed()
        assert "out-of-memory" in child.exit_reason()


@pytest.mark.parametrize(
    ("groups", "file"),
    [
        ("0::/user.slice", "user.slice/memory.events"),
        ("0::/", "memory.events"),
        ("9:memory:/docker/abc\n0::/docker/abc", "memory/memory.oom_control"),
        ("9:memory:/docker/abc\n0::/docker/abc", "memory/docker/abc/memory.oom_control"),
    ],
)
def test_out_of_memory_kills_are_counted_by_both_versions_of_control_groups(tmp_path, groups, file):
    (tmp_path / "groups").write_text(groups)
    mounted = tmp_path / "cgroup"
    (mounted / file).parent.mkdir(parents=True)
    (mounted / file).write_text("under_oom 0\noom_kill 3\n")
    assert mounted / file in processes._oom_counters(tmp_path / "groups", mounted)


# output


def test_output_is_capped_at_both_ends(tmp_path):
    code = "import sys\nfor i in range(600_000): sys.stdout.write(f'line {i:06d}\\n')"
    with start(python(code), output=tmp_path / "log", env_extra={}) as child:
        assert child.wait(60) == 0
    content = (tmp_path / "log").read_bytes()
    assert content.startswith(b"line 000000\n")
    assert content.endswith(b"line 599999\n")
    assert len(content) < output_log.LOG_HEAD_BYTES + output_log.LOG_TAIL_BYTES + (1 << 17)
    assert b"bytes left out ...]" in content


def test_output_of_a_killed_child_is_kept(tmp_path):
    code = "import time\nprint('last words', flush=True)\ntime.sleep(1000)"
    with start(python(code), output=tmp_path / "log", env_extra={}) as child:
        while not (tmp_path / "log").read_text().endswith("\n"):  # an unbuffered print writes twice
            assert child.poll() is None
    assert (tmp_path / "log").read_text() == "last words\n"


def test_a_second_start_appends(tmp_path):
    for word in ("one", "two"):
        with start(python(f"print('{word}')"), output=tmp_path / "log", env_extra={}) as child:
            child.wait(20)
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_a_child_talks_and_its_end_closes_the_channel(tmp_path):
    ours, theirs = Channel.pair()
    code = (
        "import sys\nfrom shared.sandbox.channel import Channel\n"
        "channel = Channel.from_fd(int(sys.argv[1]))\n"
        "message, _ = channel.receive(10)\n"
        "channel.send({'echo': message['word']})\n"
    )
    argv = [*python(code), str(theirs.fileno())]
    with start(argv, output=tmp_path / "log", env_extra={}, pass_fds=[theirs.fileno()]) as child:
        theirs.close()
        ours.send({"word": "hello"})
        assert ours.receive(20)[0] == {"echo": "hello"}
        with pytest.raises(ChannelClosed):
            ours.receive(20)
        assert child.wait(20) == 0
    ours.close()
