"""Open ideas that change the same lines of the same parent: told to whoever submits one more, and deciding nothing."""

from dataclasses import dataclass
from typing import Any

from shared.research.history import State, rows
from shared.research.idea import Idea
from shared.research.known import Known

OPEN = ("not run", "not decided", "undecided")
"""what has no run that counts says nothing of the line, and nobody makes another before it is asked for"""
MOST, LONGEST = 3, 80


@dataclass(frozen=True)
class Alike:
    idea: Idea
    line: str
    """of the parent, the first that both change"""
    state: State
    is_own: bool
    """of the same account on the same machine, which several agents may share"""

    @property
    def said(self) -> str:
        """One line."""
        note, name = self.idea.note[:LONGEST] or self.idea.kind, self.idea.id
        whose = f"of {self.idea.by or 'somebody'}{', your account' if self.is_own else ''}"
        return (
            f"idea {name} ('{note}', {whose}) is open ({self.state}) and changes the same: {self.line}; "
            f"`autoresearch diff {name}` shows it"
        )

    def as_json(self) -> dict[str, Any]:
        about = {"id": self.idea.id, "note": self.idea.note, "by": self.idea.by, "is_own": self.is_own}
        return {**about, "state": self.state, "line": self.line}


def open_alike(known: Known, idea: Idea) -> list[Alike]:
    """Those of others first, of these the latest, and no more than a few."""
    if idea.parent is None:
        return []
    parent = known.ideas[idea.parent]
    siblings = {row.idea.id: row for row in rows(known) if row.state in OPEN and row.idea.parent == parent.id}
    mine, found = changed(idea, parent), []
    for row in reversed([one for one in siblings.values() if one.idea.id != idea.id]):
        theirs, is_own = changed(row.idea, parent), row.idea.by == idea.by
        found += [Alike(row.idea, line[:LONGEST], row.state, is_own) for line in mine if line in theirs][:1]
    return sorted(found, key=lambda one: one.is_own)[:MOST]


def changed(idea: Idea, parent: Idea) -> list[str]:
    """Lines of the parent's recipe that the idea takes out or replaces, and settings that it gives another value."""
    gone = [line[1:].strip() for line in idea.diff.splitlines() if line.startswith("-") and "--- parent/" not in line]
    return [*filter(None, gone), *(f"--set {name}" for name in idea.set if idea.set[name] != parent.set.get(name))]
