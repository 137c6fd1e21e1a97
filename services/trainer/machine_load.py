"""How much of this machine's processors others had while a run trained: other processes, and the machine's own host.

Measured by the supervisor, from the kernel's counters, what its own family used, and what processes outside it used;
the recipe's word is not asked. What a child used that nobody collects is known of nobody when it has ended: a recipe
could shed its own work that way, and have its run not ranked, or tried again, whenever it is going to be bad. So no
more is foreign than is seen in others, where they can be seen.
"""

import os
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import psutil

from shared.contracts import Choice
from shared.sandbox.ending import FIRST_PID_NAMESPACE

FIRST_LOOK_S, LONGEST_PAUSE_S = 0.5, 10.0


@dataclass(frozen=True)
class Load:
    """Shares of all processor time of the machine, 0 to 1."""

    foreign: float
    """used by processes that are not of this run"""
    stolen: float
    """not given to this virtual machine by its host"""

    def choice(self) -> Choice:
        chosen = f"{self.foreign:.0%} used by others, {self.stolen:.0%} stolen"
        return Choice(what="machine load", chosen=chosen, reason="of this machine's processors while the run trained")


class LoadWatch:
    """From its making on; looks now and then, since what a namespace's processes used is forgotten when they end."""

    def __init__(self) -> None:
        self.machine, self.own_s, self.others = psutil.cpu_times(), _family_seconds(), _others()
        self.pause_s, self.next_at = FIRST_LOOK_S, monotonic() + FIRST_LOOK_S
        self.load: Load | None = None
        """as far as was looked; None of a run that was over before"""

    def look(self) -> None:
        """Nothing before its time has come: at first soon, then ever more rarely, because it takes milliseconds."""
        if monotonic() < self.next_at:
            return
        own_s, others = _family_seconds() - self.own_s, _others()
        seen = None if others is None or self.others is None else _grown_seconds(self.others, others)
        self.load = self._load(psutil.cpu_times(), own_s, seen)
        self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s)
        self.next_at = monotonic() + self.pause_s

    def _load(self, now: Any, own_s: float, others_s: float | None) -> Load:
        """others_s: None where others cannot be seen."""
        spent = {name: max(0.0, getattr(now, name) - getattr(self.machine, name)) for name in now._fields}
        for counted_twice in ("guest", "guest_nice"):
            spent.pop(counted_twice, None)
        total_s = sum(spent.values())
        if not total_s:
            return Load(0.0, 0.0)
        stolen_s = spent.pop("steal", 0.0)
        busy_s = total_s - stolen_s - spent.get("idle", 0.0) - spent.get("iowait", 0.0)
        foreign_s = max(0.0, busy_s - own_s)
        if others_s is not None:
            foreign_s = min(foreign_s, others_s)
        return Load(foreign=min(1.0, foreign_s / total_s), stolen=min(1.0, stolen_s / total_s))


def _family_seconds() -> float:
    """Of this process, of its family that lives, and of what ended in it and was collected."""
    return _own_seconds() + _seconds_of_living_children()


def _own_seconds() -> float:
    """Of this process and of all its family that has ended and was collected."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


def _seconds_of_living_children() -> float:
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


Ticks = dict[tuple[int, int], int]
"""{(process id, when it began): processor time of it, and of its children that ended and were collected}"""


def _others(processes: Path = Path("/proc")) -> Ticks | None:
    """Of all processes whose line of parents does not lead here. None where they cannot be seen: in a container, under
    a /proc that hides them, on macOS.

    Everything is read once before anything is asked, so that no fork changes families meanwhile. Whose parents are gone
    is left out: it may be ours.
    """
    if sys.platform != "linux" or not _sees_the_machine(processes):
        return None
    parents, ticks = {0: 0}, {}
    for entry in os.scandir(processes):
        if entry.name.isdigit():
            with suppress(OSError):
                fields = (processes / entry.name / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                ticks[int(entry.name), int(fields[19])] = sum(map(int, fields[11:15]))
    return {one: used for one, used in ticks.items() if _is_an_outsider(one[0], parents)}


def _grown_seconds(before: Ticks, now: Ticks) -> float:
    """Each process by itself: one that ends and is collected by nobody takes all it ever used out of a sum."""
    return sum(max(0, used - before.get(one, 0)) for one, used in now.items()) / os.sysconf("SC_CLK_TCK")


def _is_an_outsider(pid: int, parents: dict[int, int]) -> bool:
    for _ in parents:
        if pid == 0:
            return True
        if pid == os.getpid() or pid not in parents:
            return False
        pid = parents[pid]
    return False


def _sees_the_machine(processes: Path) -> bool:
    """The machine's own process namespace, in which everyone's first process is shown."""
    with suppress(OSError):
        first = os.stat("/proc/self/ns/pid").st_ino == FIRST_PID_NAMESPACE
        return first and (processes / "1" / "stat").exists()
    return False
