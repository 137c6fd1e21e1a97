"""How much of this machine's processors others had while a run trained: other processes, and the machine's own host.

Measured by the supervisor, from the kernel's counters and what its own family used; the recipe's word is not asked.
"""

import resource
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psutil

from shared.contracts import Choice

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
        self.machine, self.own_s = psutil.cpu_times(), _family_seconds()
        self.pause_s, self.next_at = FIRST_LOOK_S, monotonic() + FIRST_LOOK_S
        self.load: Load | None = None
        """as far as was looked; None of a run that was over before"""

    def look(self) -> None:
        """Nothing before its time has come: at first soon, then ever more rarely, because it takes milliseconds."""
        if monotonic() < self.next_at:
            return
        self.load = self._load(psutil.cpu_times(), _family_seconds() - self.own_s)
        self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s)
        self.next_at = monotonic() + self.pause_s

    def _load(self, now: Any, own_s: float) -> Load:
        spent = {name: max(0.0, getattr(now, name) - getattr(self.machine, name)) for name in now._fields}
        for counted_twice in ("guest", "guest_nice"):
            spent.pop(counted_twice, None)
        total_s = sum(spent.values())
        if not total_s:
            return Load(0.0, 0.0)
        stolen_s = spent.pop("steal", 0.0)
        busy_s = total_s - stolen_s - spent.get("idle", 0.0) - spent.get("iowait", 0.0)
        return Load(foreign=min(1.0, max(0.0, busy_s - own_s) / total_s), stolen=min(1.0, stolen_s / total_s))


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
