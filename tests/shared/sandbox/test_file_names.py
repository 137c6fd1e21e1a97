"""Names of files a process may ask for: with a real process, and the filter interpreted for both architectures."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.sandbox import bpf, file_names, seccomp
from shared.sandbox.channel import Channel
from shared.sandbox.file_names import FileNames
from tests.fleet import wait_for
from tests.shared.sandbox.filters import verdict

COUNTED = """
try:
    descriptors = [file_names.notify()]
except OSError as error:
    channel.send({"unsupported": str(error)})
    sys.exit()
channel.send({}, fds=descriptors)
os.close(descriptors[0])
"""
CHILD = (
    """
import os, sys, threading
from shared.sandbox import file_names, privileges
from shared.sandbox.channel import Channel

channel = Channel.from_fd(int(sys.argv[1]))
waiting = threading.Event()
thread = threading.Thread(target=lambda: (waiting.wait(), ask("of a thread that was there before")))
said = []

def ask(name):
    try:
        os.stat("/" + name)
        said.append("there")
    except OSError as error:
        said.append(type(error).__name__)

privileges.drop_privileges()
thread.start()
"""
    + COUNTED
    + """
ask("usr")
ask("of-no-file")
if os.fork() == 0:
    ask("of-a-child")
    os._exit(0)
os.wait()
waiting.set()
thread.join()
channel.send({"said": said})
channel.receive(60)
said.clear()
for name in ("usr", "usr", "usr"):
    ask(name)
channel.send({"said": said})
"""
)


@pytest.fixture
def program():
    return CHILD


@pytest.fixture
def child(program, tmp_path):
    ours, theirs = Channel.pair()
    argv = [sys.executable, "-c", program, str(theirs.fileno()), str(tmp_path / "fifo")]
    process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
    theirs.close()
    try:
        yield ours
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def listener(channel: Channel) -> int:
    message, descriptors = channel.receive(60)
    if "unsupported" in message:
        pytest.skip(message["unsupported"])
    return descriptors[0]


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
def test_calls_of_every_thread_and_child_go_on_and_are_counted_until_the_limit_and_fail_then(child):
    with FileNames(listener(child)) as names:
        assert child.receive(60)[0]["said"] == ["there", "FileNotFoundError", "FileNotFoundError"]
        assert names.counted == 4
        names.limit(2)
        assert not names.exceeded
        child.send({})
        assert child.receive(60)[0]["said"] == ["there", "there", "PermissionError"]
        assert names.exceeded


LATE_CHILD = (
    """
import ctypes, os, sys, threading
from shared.sandbox import file_names, privileges
from shared.sandbox.channel import Channel

channel, libc = Channel.from_fd(int(sys.argv[1])), ctypes.CDLL(None)
idle, busy = threading.Event(), [True]
privileges.drop_privileges()
"""
    + COUNTED
    + """

def ask_and(wait):
    libc.access(b"/usr", 0)
    asked.release()
    wait()

def spin():
    while busy[0]:
        pass

asked = threading.Semaphore(0)
waits = {"idle": idle.wait, "in a call that names a file": lambda: os.open(sys.argv[2], os.O_RDONLY), "busy": spin}
os.mkfifo(sys.argv[2])
for wait in waits.values():
    threading.Thread(target=ask_and, args=(wait,), daemon=True).start()
for _ in waits:
    asked.acquire()
channel.send({})
channel.receive(60)
busy[0] = False
channel.send({"said": [libc.access(b"/usr", 0) for _ in range(3)]})
os._exit(0)
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
@pytest.mark.parametrize("program", [pytest.param(LATE_CHILD, id="waits")])
def test_a_call_that_may_not_have_read_its_name_yet_is_one_of_those_that_are_allowed(child, monkeypatch):
    """Its thread may be kept from a processor until it knows what to tell."""
    monkeypatch.setattr(file_names, "_LOOKS", 200)  # a thread of a busy machine needs longer to fall asleep
    with FileNames(listener(child)) as names:
        child.receive(60)
        wait_for(lambda: names.counted >= 5)  # mkfifo, three of access, and the open() that waits for a writer
        names.limit(4)
        child.send({})
        assert child.receive(60)[0]["said"] == [0, 0, -1], "the thread that opens and the busy one may name one each"


STARTING_CHILD = (
    """
import os, sys, threading
from shared.sandbox import file_names, privileges
from shared.sandbox.channel import Channel

channel = Channel.from_fd(int(sys.argv[1]))
privileges.drop_privileges()

def start():
    try:
        pid = os.fork()
    except OSError as error:
        return type(error).__name__
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "started"
"""
    + COUNTED
    + """
channel.send({"said": start()})
channel.receive(60)
thread = threading.Thread(target=list)
thread.start()
thread.join()
channel.send({"said": "a thread"})
channel.receive(60)
channel.send({"said": start()})
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
@pytest.mark.parametrize("program", [pytest.param(STARTING_CHILD, id="starts")])
@pytest.mark.parametrize(("alone", "expected"), [(True, "PermissionError"), (False, "started")])
def test_a_process_that_has_to_be_alone_may_start_threads_only(child, alone, expected):
    with FileNames(listener(child)) as names:
        assert child.receive(60)[0]["said"] == "started"
        names.limit(100, alone=alone)
        child.send({})
        assert child.receive(60)[0]["said"] == "a thread"
        assert not names.started_processes
        child.send({})
        assert child.receive(60)[0]["said"] == expected
        assert names.started_processes is alone


MEASURING_CHILD = (
    """
import os, sys
from shared.engines.host_memory import peak_rss_bytes
from shared.sandbox import file_names, privileges
from shared.sandbox.channel import Channel

channel = Channel.from_fd(int(sys.argv[1]))
privileges.drop_privileges()
"""
    + COUNTED
    + """
channel.send({"peaks": [peak_rss_bytes() for _ in range(100)]})
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
@pytest.mark.parametrize("program", [pytest.param(MEASURING_CHILD, id="measures")])
def test_what_is_measured_after_every_pass_names_a_file_once(child):
    with FileNames(listener(child)) as names:
        assert min(child.receive(60)[0]["peaks"]) > 1 << 20
        assert names.counted == 1


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux'")
def test_it_ends_when_it_is_left_and_also_when_every_process_is_gone(child):
    before = set(os.listdir("/proc/self/fd"))
    with FileNames(listener(child)) as names:
        child.receive(60)
        child.send({})
        child.receive(60)
        names._thread.join(30)
        assert not names._thread.is_alive()
    assert len(set(os.listdir("/proc/self/fd"))) <= len(before)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_that_names_a_file_is_counted_or_refused_on_both_architectures(machine):
    column = bpf.COLUMN[machine]
    counted = {pair[column] for pair in file_names._CALLS.values()} - {None}
    for number in counted:
        assert verdict(file_names.program(machine), machine, number) == bpf.NOTIFY
        assert verdict(seccomp.program(machine), machine, number) == bpf.ALLOW
    others = {pair[column] for pair in (seccomp._REFUSED | seccomp._IGNORED).values()} - {None}
    assert not counted & others
    assert verdict(file_names.program(machine), machine, 0 if machine == "x86_64" else 63) == bpf.ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("command", "is_counted"), [(6, True), (7, True), (37, True), (1024, True), (3, False)])
def test_locks_on_files_are_counted_and_other_controls_of_them_are_not(machine, command, is_counted):
    """A file that was locked once is locked faster: a bit a file for the next process."""
    number = file_names._FCNTL[bpf.COLUMN[machine]]
    said = verdict(file_names.program(machine), machine, number, 5, command)
    assert said == (bpf.NOTIFY if is_counted else bpf.ALLOW)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_questions_about_an_open_file_that_the_kernel_remembers_are_refused(machine):
    column, program = bpf.COLUMN[machine], seccomp.program(machine)
    for whence, answer in [(3, bpf.ERRNO | errno.EINVAL), (4, bpf.ERRNO | errno.EINVAL), (2, bpf.ALLOW)]:
        assert verdict(program, machine, seccomp._LSEEK[column], 5, 0, whence) == answer
    for call in seccomp._ATTRIBUTES.values():
        assert verdict(program, machine, call[column]) == bpf.ERRNO | errno.EOPNOTSUPP


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_that_starts_a_process_is_looked_at_and_none_that_starts_a_thread(machine):
    column, flags = bpf.COLUMN[machine], {"fork": 17, "vfork": 0x4111, "thread": 0x3D0F00}
    said = {
        name: verdict(file_names.program(machine), machine, file_names._CLONE[column], value)
        for name, value in flags.items()
    }
    assert said == {"fork": bpf.NOTIFY, "vfork": bpf.NOTIFY, "thread": bpf.ALLOW}
    for number in {pair[column] for pair in file_names._FORKS.values()} - {None}:
        assert verdict(file_names.program(machine), machine, number) == bpf.NOTIFY
    assert verdict(seccomp.program(machine), machine, seccomp._CLONE3[column]) == bpf.ERRNO | errno.ENOSYS


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_are_no_calls_that_are_newer_than_those_looked_at(machine):
    newest = max(pair[0] for pair in (file_names._CALLS | seccomp._REFUSED | seccomp._IGNORED).values() if pair[0])
    assert verdict(seccomp.program(machine), machine, newest) != bpf.ERRNO | errno.ENOSYS
    for number in (newest + 1, 500):
        assert verdict(seccomp.program(machine), machine, number) == bpf.ERRNO | errno.ENOSYS


def test_a_call_of_another_architecture_cannot_go_round_the_count():
    there, other = ("x86_64", "aarch64")
    architecture = bpf.AUDIT_ARCHITECTURES[other]
    assert verdict(file_names.program(there), there, 257, architecture=architecture) & bpf.ERRNO


HEADER = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")


@pytest.mark.skipif(not HEADER.exists(), reason="the kernel's headers are not installed")
def test_the_numbers_are_those_of_the_kernels_headers():
    words = [line.split() for line in HEADER.read_text().splitlines() if line.startswith("#define __NR_")]
    numbers = {name.removeprefix("__NR_"): int(number) for _, name, number in words}
    ours = {name: pair[0] for name, pair in (file_names._CALLS | seccomp._REFUSED | seccomp._IGNORED).items()}
    assert {name: number for name, number in ours.items() if name in numbers} == {
        name: numbers[name] for name in ours if name in numbers
    }
