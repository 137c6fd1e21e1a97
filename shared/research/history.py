"""What became of every idea, one row for each idea and key, in the order in which they were proposed."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Literal

from shared.contracts import RunResult
from shared.research.comparable import Evidence, Key, LeftOut, key_of, said_of, why_not
from shared.research.idea import Idea
from shared.research.known import Known
from shared.research.steps import num_steps

State = Literal["start", "keep", "discard", "undecided", "not decided", "crash", "no run counts", "not run"]
"""undecided: somebody had it judged, and its runs were not enough; not decided: nobody did"""


@dataclass(frozen=True)
class NotCounted:
    """A run with a number that is compared with nothing."""

    run_id: str
    val_bpb: float
    why: str
    key: Key | None

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "key": self.key and self.key.model_dump(mode="json")}


@dataclass(frozen=True)
class Row:
    idea: Idea
    key: Key | None
    state: State
    """crash: no run of it came to a number"""
    val_bpb: float | None = None
    """published for a kept idea, else the mean of its runs"""
    effect: float | None = None
    """what it seems to gain on its parent"""
    num_runs: int = 0
    num_failed: int = 0
    peak_vram_mb: float | None = None
    """as the recipe's process reports it, median"""
    num_steps: float | None = None
    """of a run, median, as reported: under a time budget val_bpb follows it"""
    tokens_M: float | None = None
    """trained in the budget, median, as reported"""
    reason: str = ""
    not_counted: tuple[NotCounted, ...] = ()
    """in no other field: no verdict, standing, table or picture knows these numbers"""

    @property
    def val_bpb_of(self) -> str:
        """Which runs the number is of: it depends on what became of the idea."""
        if self.state == "keep" and self.idea.kind == "change":
            return "the fresh run that confirmed it"
        return "" if self.val_bpb is None else "one run" if self.num_runs == 1 else f"the mean of {self.num_runs} runs"

    @property
    def hardware_keys(self) -> set[str]:
        """Where its runs ran, also those that do not count."""
        return {one.hardware_key for one in (self.key, *(run.key for run in self.not_counted)) if one}

    def as_json(self) -> dict[str, Any]:
        idea, key = self.idea, self.key
        named = {name: value for name, value in vars(self).items() if name not in ("idea", "key", "not_counted")}
        about = {"id": idea.id, "parent": idea.parent, "kind": idea.kind, "note": idea.note, "by": idea.by}
        where = key and key.model_dump(mode="json")
        beside = {
            "key": where,
            "val_bpb_of": self.val_bpb_of,
            "not_counted": [one.as_json() for one in self.not_counted],
        }
        return {**about, "made_at": idea.made_at.isoformat(), "settings": idea.settings, **named, **beside}


def rows(known: Known, key: Key | None = None) -> list[Row]:
    """For one key, or for every key of every idea."""
    found: list[Row] = []
    for idea in known.ideas.values():
        keys = known.keys(idea)
        found += [_row(known, idea, one) for one in keys if key in (None, one)]
        if not keys:
            found.append(_without_number(known, idea))
    return found


def _row(known: Known, idea: Idea, key: Key) -> Row:
    evidence, ruling = known.evidence(idea, key), known.rulings.get((idea.id, key))
    runs, failed = evidence.results, evidence.failed
    against = (ruling.against if ruling else None) or idea.parent or ""
    pool = known.pool(known.ideas[against], key, idea).values if against in known.ideas else []
    mean = fmean(evidence.values) if runs else None
    undecided = known.undecided.get((idea.id, key))
    state: State = "start" if idea.parent is None else "undecided" if undecided else "not decided"
    if ruling is not None:
        state = "keep" if ruling.verdict == "keep" else "discard"
    elif failed and idea.parent is not None:
        state = "discard"
    return Row(
        idea,
        key,
        state,
        val_bpb=ruling.published if ruling and ruling.published is not None else mean,
        effect=fmean(pool) - mean if pool and mean is not None else None,
        num_runs=len(runs),
        num_failed=len(failed),
        peak_vram_mb=middle(runs, "peak_vram_mb"),
        num_steps=num_steps(runs),
        tokens_M=middle(runs, "total_tokens_M"),
        reason=ruling.reason if ruling else undecided.reason if undecided else "",
        not_counted=_not_counted(known, idea, key),
    )


def _without_number(known: Known, idea: Idea) -> Row:
    results = known.results.get(idea.id, ())
    ended = [result for result in results if why_not(idea, result) is None]
    failed = [result for result in ended if result.val_bpb is None]
    beside = _not_counted(known, idea, None)
    if failed:
        said = f"{failed[-1].status}: {failed[-1].reason}"
        return Row(idea, None, "crash", num_failed=len(failed), reason=said, not_counted=beside)
    reasons = [said_of(why, one) for one in results if (why := why_not(idea, one))]
    said = "; ".join(dict.fromkeys(reasons))
    return Row(idea, None, "no run counts" if results else "not run", reason=said, not_counted=beside)


def _not_counted(known: Known, idea: Idea, key: Key | None) -> tuple[NotCounted, ...]:
    """Of one row of the idea, in the order in which they ended. A run whose key has no row stands with the first."""
    keys = known.keys(idea)
    evidence = known.evidence(idea, key) if key else Evidence()
    found = []
    for one in known.results.get(idea.id, ()):
        own, why = key_of(one), evidence.why_not(idea, one)
        there = own if own in keys else next(iter(keys), None)
        if one.val_bpb is not None and why not in (None, LeftOut.OTHER_KEY) and there == key:
            found.append(NotCounted(one.run_id, one.val_bpb, said_of(why, one), own))
    return tuple(found)


def middle(runs: Sequence[RunResult], name: str) -> float | None:
    values = [value for run in runs if (value := getattr(run, name)) is not None]
    return median(values) if values else None


def standings(known: Known) -> list[Row]:
    """For each key the lowest val_bpb of what was kept and of the starts. Memory is what recipes report: no place."""
    found: list[Row] = []
    for key in sorted(known.all_keys(), key=str):
        there = [row for row in rows(known, key) if row.state in ("keep", "start")]
        found += sorted(there, key=lambda one: one.val_bpb or 0.0)[:1]
    return found
