"""What was run while somebody waited for a verdict, and whether it counts."""

from dataclasses import dataclass
from typing import Any

from shared.contracts import RunResult
from shared.research.comparable import Evidence, Key, said_of
from shared.research.idea import Idea
from shared.research.known import Known


@dataclass(frozen=True)
class Made:
    """A run that ended while somebody waited for the verdict."""

    result: RunResult
    why_not: str
    """why it does not count; empty: it counts"""

    @property
    def said(self) -> str:
        """One line."""
        one = self.result
        number = str(one.status) if one.val_bpb is None else f"val_bpb {one.val_bpb:.6f}"
        counts = f"does not count ({self.why_not})" if self.why_not else "counts"
        return f"{one.run_id} of {one.idea}, seed {one.seed} on {one.hardware_key}: {number}, {counts}"

    def as_json(self) -> dict[str, Any]:
        names = ("run_id", "idea", "seed", "target", "hardware_key", "status", "val_bpb")
        return {**{name: getattr(self.result, name) for name in names}, "why_not_counted": self.why_not or None}


def made_since(
    before: Known, after: Known, key: Key | None, idea: Idea, against: Idea | None = None
) -> tuple[Made, ...]:
    """Runs of an idea, and of what it is held against, that ended in between, and whether they count for the key."""
    made = _made(before, after, idea, after.evidence(idea, key) if key else Evidence())
    if against is None:
        return made
    return made + _made(before, after, against, after.pool(against, key, idea) if key else Evidence())


def _made(before: Known, after: Known, idea: Idea, evidence: Evidence) -> tuple[Made, ...]:
    """In the order in which they ended."""
    seen = {one.run_id for one in before.results.get(idea.id, ())}
    new = [one for one in after.results.get(idea.id, ()) if one.run_id not in seen]
    whys = [(one, evidence.why_not(idea, one)) for one in new]
    return tuple(Made(one, said_of(why, one) if why else "") for one, why in whys)
