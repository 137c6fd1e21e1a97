"""What of an idea's runs is evidence at the end of one of them, for its page in MLflow.

It is worked out where book and results are, in the queue or on this disk, by the same rules as a verdict: seeds that
were drawn, the worse of two runs with one seed, failures too. MLflow itself knows neither.
"""

from collections.abc import Iterable, Sequence
from time import time
from typing import Any

from shared.contracts import Rung, RunResult
from shared.fleet.contracts import Counted
from shared.fleet.store import FleetStore
from shared.research.book import Entry, FleetBook, LocalBook, Proposal, Trial
from shared.research.comparable import Key, evidence, key_of, keys_of
from shared.research.known import results_of_jobs, results_on_disk


def counted_in_queue(connection: Any, result: RunResult) -> Counted | None:
    """None for a run of no idea, or of one that the book does not have."""
    if result.idea is None:
        return None
    entries = [one for one in FleetBook(connection).entries_about(result.idea) if _is_of(one, result.idea)]
    return _counted(entries, results_of_jobs(FleetStore(connection), entries).get(result.idea, []), result)


def counted_on_disk(result: RunResult) -> Counted | None:
    """The same for a machine on its own."""
    if result.idea is None:
        return None
    entries = [one for one in LocalBook().entries() if _is_of(one, result.idea)]
    return _counted(entries, results_on_disk().get(result.idea, []) if entries else [], result)


def _is_of(entry: Entry, idea: str) -> bool:
    return (isinstance(entry, Proposal) and entry.idea.id == idea) or (isinstance(entry, Trial) and entry.idea == idea)


def _counted(entries: Iterable[Entry], results: Sequence[RunResult], ended: RunResult) -> Counted | None:
    idea = next((one.idea for one in entries if isinstance(one, Proposal)), None)
    if idea is None or ended.budget.seconds is None:
        return None
    key = key_of(ended) or next(filter(lambda one: _is_where(one, ended), keys_of(idea, results)), _any_rung(ended))
    found = evidence(idea, key, results, evidence(idea, key, results).first)
    return Counted(values=tuple(found.values), num_failed=len(found.failed), at=time())


def _is_where(key: Key, ended: RunResult) -> bool:
    return _any_rung(ended) == key.model_copy(update={"rung": Rung.SMOKE, "eval_signature": ""})


def _any_rung(ended: RunResult) -> Key:
    """For a run without a number, which has no rung: where no other run has one either, only failures count."""
    assert ended.budget.seconds is not None
    return Key(
        hardware_key=ended.hardware_key,
        engine=ended.engine,
        dataset=ended.dataset,
        budget_seconds=ended.budget.seconds,
        rung=Rung.SMOKE,
        eval_signature="",
    )
