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


def made_since(before: Known, after: Known, key: Key | None, *ideas: Idea) -> tuple[Made, ...]:
    """Runs of the ideas that ended in between, in their order, and whether they are evidence for the key."""
    made = []
    for idea in ideas:
        evidence = after.evidence(idea, key) if key else Evidence()
        seen = {one.run_id for one in before.results.get(idea.id, ())}
        for one in after.results.get(idea.id, ()):
            if one.run_id not in seen:
                why = evidence.why_not(idea, one)
                made.append(Made(one, said_of(why, one) if why else ""))
    return tuple(made)
