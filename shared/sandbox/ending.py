"""Ending a child and everything it started. How completely that can be done depends on what keeps them together.

A namespace and a container are complete: no chain of forks escapes. In a session processes are searched for, which a
process that forks and exits in a chain can escape: a recipe's run is then marked (shared/contracts.py Integrity).
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Protocol

import psutil

from shared.machine.births import began_at
from shared.sandbox.parent_death import dies_with_parent

EXECUTOR = b"services.executor"
TIMEOUT_S = 5.0
SLACK_S = 5.0
_POLL_S = 0.005
_PR_SET_CHILD_SUBREAPER = 36
FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO: the machine's own, which no container has

_adopting = False


class Process(Protocol):
    """What is used here of subprocess.Popen."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


_started: dict[int, Process] = {}


class Isolation(StrEnum):
    """What keeps a child and all it starts together, so that it can be ended."""

    NAMESPACE = "namespace"
    """a process namespace of its own (launcher.py): the kernel ends all of it when its first process dies"""
    CONTAINER = "container"
    """this container holds nothing but our executor, its stage and the child: a signal to all of it spares only us"""
    SESSION = "session"
    """parents and sessions, as they are found by looking: incomplete against a hostile child"""


def adopt_orphans() -> None:
    """First line of a supervisor's main: daemons of its children become its own, so that they are found.

    From then on every child of this process that processes.start did not start is taken for such a daemon.
    """
    global _adopting
    if sys.platform == "linux":
        _adopting = ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def know(process: Process) -> None:
    """Tells a started child from an adopted daemon."""
    _started[process.pid] = process


def forget(process: Process) -> None:
    """It has ended."""
    _started.pop(process.pid, None)


def end(process: Process, isolation: Isolation, began_s: float) -> None:
    """SIGKILL for the process and all it started. TimeoutError names what survives TIMEOUT_S."""
    if isolation is Isolation.NAMESPACE:
        _end_namespace(process)
    elif isolation is Isolation.CONTAINER:
        _end_everyone_else(process)
    else:
        _end_tree(process, began_s)
    forget(process)


def company(process: Process, isolation: Isolation, began_s: float) -> int:
    """How many processes live beside the program that was started, as far as they are found."""
    if isolation is not Isolation.NAMESPACE:
        return len(_living_tree(process, began_s) - {process.pid})
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        return max(0, sum(map(_lives, family)) - 2)  # process 1 inside, and the program; nothing leaves a namespace
    return 0


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def strongest() -> Isolation:
    """What a recipe's process gets on this machine."""
    if sys.platform != "linux":
        return Isolation.SESSION
    if is_own_container():
        return Isolation.CONTAINER
    return Isolation.NAMESPACE if _namespaces_are_permitted() else Isolation.SESSION


def is_own_container() -> bool:
    """Whether process 1 is our executor and started us: then all processes here are ours to end."""
    if os.getppid() != 1 or os.stat("/proc/self/ns/pid").st_ino == FIRST_PID_NAMESPACE:
        return False
    return EXECUTOR in Path("/proc/1/cmdline").read_bytes().split(b"\0")


@cache
def _namespaces_are_permitted() -> bool:
    tried = subprocess.run(dies_with_parent([], alone=True), stderr=subprocess.DEVNULL, check=False)
    return tried.returncode == 0


def _end_namespace(process: Process) -> None:
    """The launcher outside kills process 1 inside, and ends itself when the kernel has ended all the others."""
    process.terminate()
    try:
        process.wait(TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its init dies with it
        raise TimeoutError(f"processes of {process.pid} survive SIGKILL") from None


def _end_everyone_else(process: Process) -> None:
    """kill(-1) reaches, in one sweep that no fork escapes, every process but the caller and process 1."""
    deadline = time.monotonic() + TIMEOUT_S
    while _anyone_else():
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        process.poll()
        _reap_orphans(process)
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes started by {process.pid} survive SIGKILL")
        time.sleep(_POLL_S)


def _anyone_else() -> bool:
    try:
        os.kill(-1, 0)
    except ProcessLookupError:
        return False
    return True


def _reap_orphans(process: Process) -> None:
    """Adopted daemons; the child itself is collected by Popen."""
    if process.returncode is None:
        return
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _end_tree(process: Process, began_s: float) -> None:
    """Everything that is found is stopped first, so that what was found does not fork between looking and killing."""
    deadline = time.monotonic() + TIMEOUT_S
    stopped: set[int] = set()
    while alive := _living_tree(process, began_s):
        fresh = alive - stopped
        _signal_all(fresh or alive, signal.SIGSTOP if fresh else signal.SIGKILL)
        stopped |= fresh
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {sorted(alive)} survive SIGKILL")
        if not fresh:
            time.sleep(_POLL_S)


def _signal_all(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _living_tree(child: Process, began_s: float) -> set[int]:
    child.poll()
    parent_of, members = {}, set()
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if process.status() == psutil.STATUS_ZOMBIE:
                _reap(process.pid)
                continue
            parent_of[process.pid] = process.ppid()
            in_session = os.getsid(process.pid) == child.pid and began_at(process.pid) >= began_s - SLACK_S
            if in_session or process.pid == child.pid or _is_adopted(process):
                members.add(process.pid)
    while grown := {pid for pid, parent in parent_of.items() if parent in members} - members:
        members |= grown
    return members


def _is_adopted(process: psutil.Process) -> bool:
    return _adopting and process.ppid() == os.getpid() and process.pid not in _started


def _reap(pid: int) -> None:
    """Collects an adopted orphan; Popen collects what `start` started."""
    if _adopting and pid not in _started:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
