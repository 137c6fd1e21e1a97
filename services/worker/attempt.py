"""One attempt of a job: who runs it where, and its record on this disk from before it begins until its result counts.

The note in ARE_RUNS/attempts is durable before the experiment starts. Whoever finds it later, after any crash, can
tell what is left to do: deliver the result of the run directory, or have the job started again.
"""

from collections.abc import Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from shared.contracts import RunResult
from shared.files import write_atomic
from shared.fleet.contracts import AttemptRecord, Counted, Delivery, Outcome, Verdict
from shared.fleet.store import FleetStore
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.settings import settings
from shared.stages.executors import Executor


@dataclass(frozen=True)
class Attempt:
    """What a job function needs to know of the start it is."""

    record: AttemptRecord
    target: str
    retries_left: int
    store: FleetStore
    looking_in: FleetStore
    """the same store over a connection that gives up quickly, for the thread beside the experiment"""
    executor: Executor

    @property
    def directory(self) -> RunDirectory:
        return RunDirectory.of(self.record.run_id)


current: ContextVar[Attempt] = ContextVar("current attempt")
"""set by the worker's horse before it calls a job function"""


class InfrastructureFault(Exception):
    """The attempt came to nothing through no fault of the recipe: the job is started again, up to a limit."""


def is_void(result: RunResult) -> bool:
    """Whether the end says nothing of the recipe. Reasons are not read: a recipe may have written them."""
    return result.void is not None


# notes


def notes_folder() -> Path:
    return settings().runs / "attempts"


def note_file(record: AttemptRecord) -> Path:
    return RunDirectory.of(record.run_id).attempt_note


def open_note(record: AttemptRecord) -> None:
    notes_folder().mkdir(parents=True, exist_ok=True)
    write_record(note_file(record), record)


def notes() -> Iterator[AttemptRecord]:
    """The attempts of this disk that are not settled, oldest first."""
    files = sorted(notes_folder().glob("*.json"), key=lambda file: (file.stat().st_mtime_ns, file.name))
    for file in files:
        yield read_record(file, AttemptRecord)


def outcome_of(record: AttemptRecord, result: RunResult) -> Outcome:
    return Outcome(
        job_id=record.job_id,
        status=result.status,
        reason=result.reason,
        attempt=record.number,
        run_id=record.run_id,
        worker=record.worker,
        result=result,
    )


def deliver(record: AttemptRecord, result: RunResult, store: FleetStore) -> Verdict:
    """Offers a result that is on disk and settles the attempt by the verdict. May be repeated after a crash."""
    verdict = store.accept(record.execution, outcome_of(record, result))
    settle(record, verdict, _counted(result, store) if verdict is Verdict.ACCEPTED else None)
    return verdict


def _counted(result: RunResult, store: FleetStore) -> Counted | None:
    """For a page that people read: what cannot be read costs no more than that."""
    if result.idea is None:
        return None
    from shared.research.counted import counted_in_queue

    with suppress(ValueError):
        return counted_in_queue(store.connection, result)
    return None


def settle(record: AttemptRecord, verdict: Verdict, counted: Counted | None = None) -> None:
    """Says in the run directory what became of it; an accepted one waits in the outbox for MLflow."""
    directory = RunDirectory.of(record.run_id)
    if directory.path.exists():
        delivery = Delivery(attempt=record, verdict=verdict, counted=counted)
        write_atomic(directory.delivery_file, delivery.model_dump_json(indent=2) + "\n")
    if verdict is Verdict.ACCEPTED:
        from shared.tracking import keep_for_later

        keep_for_later(directory.path)
    note_file(record).unlink(missing_ok=True)
