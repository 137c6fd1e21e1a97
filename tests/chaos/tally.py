"""What is left to count after a storm."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.tracking import mlflow_mapping
from tests.fleet import intervals, overlaps

if TYPE_CHECKING:
    from tests.chaos.storm import Storm

ENDED = {"finished", "failed", "stopped"}


@dataclass
class Tally:
    jobs: int
    ended: Counter = field(default_factory=Counter)
    blows: Counter = field(default_factory=Counter)
    not_ended: list[str] = field(default_factory=list)
    recorded: int = 0
    recorded_twice: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    completed_twice: list[str] = field(default_factory=list)
    overlapping: list[tuple[str, str]] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.not_ended or self.recorded_twice or self.unrecorded or self.overlapping)

    def __str__(self) -> str:
        return (
            f"{self.jobs} jobs, {self.starts} starts, {self.seconds:.0f} s, {self.blows.total()} blows "
            f"{dict(self.blows)}: ended {dict(self.ended)}, lost or not ended {len(self.not_ended)}, "
            f"recorded {self.recorded}, twice {len(self.recorded_twice)}, not at all {len(self.unrecorded)}, "
            f"completed twice {len(self.completed_twice)}, overlapping {len(self.overlapping)}"
        )

    @property
    def details(self) -> str:
        return f"{self} {self.not_ended} {self.recorded_twice} {self.unrecorded} {self.overlapping}"


def count(storm: "Storm", names: list[str], seconds: float) -> Tally:
    tally = Tally(len(names), blows=storm.blows, seconds=seconds)
    tally.overlapping = overlaps(storm.runs)
    tally.starts = len(intervals(storm.runs))
    completions = Counter(file.read_text() for file in (storm.runs / "completions").glob("*"))
    tally.completed_twice = [name for name in names if completions[name] > 1]
    _count_ends(storm, tally, names)
    recorded = _recorded(storm, names)
    tally.recorded = recorded.total()
    tally.recorded_twice = [run for run, times in recorded.items() if times > 1]
    return tally


def _count_ends(storm: "Storm", tally: Tally, names: list[str]) -> None:
    in_mlflow = {run.data.tags[mlflow_mapping.RUN_ID_TAG] for run in storm.mlflow.runs()} if storm.mlflow else set()
    for name in names:
        status = storm.redis.status(name)
        outcome = None if storm.stock else storm.redis.store.outcome(name)
        if status not in ENDED or (outcome is None and not storm.stock):
            tally.not_ended.append(f"{name}: {status}")
        tally.ended[str(outcome.status) if outcome else status] += 1
        if storm.mlflow and outcome and outcome.run_id and outcome.run_id not in in_mlflow:
            tally.unrecorded.append(outcome.run_id)


def _recorded(storm: "Storm", names: list[str]) -> Counter:
    """How often each job is on record: in MLflow; without one, on its way there. Stock: successful results in Redis."""
    if storm.stock:
        results = {name: storm.redis.connection.xrange(f"rq:results:{name}") for name in names}
        return Counter(name for name in names for _, entry in results[name] if entry.get(b"type") == b"1")
    if storm.mlflow:
        return Counter(_job(run.data.tags[mlflow_mapping.RUN_ID_TAG]) for run in storm.mlflow.runs())
    return Counter(_job(file.stem) for file in (storm.runs / "outbox").glob("*.json"))


def _job(run_id: str) -> str:
    return run_id.rpartition("-a")[0]
