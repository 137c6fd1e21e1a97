"""Open ideas that change the same lines of the same parent: told to whoever submits one more, and deciding nothing."""

from dataclasses import dataclass
from typing import Any

from shared.research.history import rows
from shared.research.idea import Idea
from shared.research.known import Known

OPEN = ("not run", "no run counts", "undecided")
MOST, LONGEST = 3, 80


@dataclass(frozen=True)
class Alike:
    idea: Idea
    line: str
    """of the parent, the first that both change"""

    @property
    def said(self) -> str:
        """One line."""
        note, name = self.idea.note[:LONGEST] or self.idea.kind, self.idea.id
        return f"idea {name} ('{note}') is open and changes the same: {self.line}; `autoresearch diff {name}` shows it"

    def as_json(self) -> dict[str, Any]:
        return {"id": self.idea.id, "note": self.idea.note, "by": self.idea.by, "line": self.line}


def open_alike(known: Known, idea: Idea) -> list[Alike]:
    """The latest first, and no more than a few."""
    if idea.parent is None:
        return []
    parent = known.ideas[idea.parent]
    siblings = {row.idea.id: row.idea for row in rows(known) if row.state in OPEN and row.idea.parent == parent.id}
    mine, found = changed(idea, parent), []
    for other in reversed([one for one in siblings.values() if one.id != idea.id]):
        theirs = changed(other, parent)
        found += [Alike(other, line[:LONGEST]) for line in mine if line in theirs][:1]
    return found[:MOST]


def changed(idea: Idea, parent: Idea) -> list[str]:
    """Lines of the parent's recipe that the idea takes out or replaces, and settings that it gives another value."""
    gone = [line[1:].strip() for line in idea.diff.splitlines() if line.startswith("-") and "--- parent/" not in line]
    return [*filter(None, gone), *(f"--set {name}" for name in idea.set if idea.set[name] != parent.set.get(name))]
