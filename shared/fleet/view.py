"""What is to be said of a job right now, from the record and from RQ's own keys."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from shared.contracts import Status
from shared.fleet import keys
from shared.fleet.contracts import Outcome, Progress
from shared.fleet.store import FleetStore, dump_outcome
from shared.machine.targets import TARGETS

State = Literal["queued", "running", "done", "unknown"]


@dataclass(frozen=True)
class JobView:
    job_id: str
    state: State
    queue: str
    status: Status | None
    summary: str
    attempts: int
    worker: str
    progress: Progress | None = None
    outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "unknown")

    def to_json(self) -> str:
        plain = {name: value for name, value in vars(self).items() if name not in ("progress", "outcome")}
        plain["progress"] = self.progress and self.progress.model_dump(mode="json")
        plain["outcome"] = self.outcome and dump_outcome(self.outcome)
        return json.dumps(plain)


def view(store: FleetStore, job_id: str) -> JobView:
    fields = store.connection.hmget(keys.rq_job(job_id), "status", "origin", "worker_name", "exc_info")
    rq_status, queue, worker = (field.decode(errors="replace") if field else "" for field in fields[:3])
    outcome, attempts = store.outcome(job_id), store.attempts(job_id)
    seen = partial(JobView, job_id=job_id, queue=queue, attempts=attempts, worker=worker)
    if outcome is not None:
        return seen(state="done", status=outcome.status, summary=describe(outcome), outcome=outcome)
    if rq_status in ("queued", "scheduled", "deferred", "created"):
        if store.is_cancelled(job_id):
            return seen(state="done", status=Status.CANCELLED, summary="cancelled before it began")
        again = f", {attempts} attempts so far" if attempts else ""
        return seen(state="queued", status=None, summary=f"waiting for a worker of {queue}{again}")
    if rq_status == "started":
        progress = store.progress(job_id)
        return seen(state="running", status=None, summary=activity(progress), progress=progress)
    if rq_status:
        return seen(state="done", status=Status.CRASHED, summary=f"RQ says {rq_status}, nothing is recorded")
    return seen(state="unknown", status=None, summary="no such job on this hub")


def describe(outcome: Outcome) -> str:
    if outcome.result is not None and outcome.result.val_bpb is not None:
        return f"val_bpb {outcome.result.val_bpb:.6f} ({outcome.result.rung})"
    return outcome.reason or str(outcome.status)


def activity(progress: Progress | None) -> str:
    if progress is None:
        return "starting"
    if progress.step is None:
        return progress.activity
    loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
    return f"{progress.activity} {progress.progress:.0%}, step {progress.step}{loss}"


def job_ids(store: FleetStore, names: Iterable[str]) -> list[str]:
    """Jobs named directly or by their group."""
    return [job for name in names for job in (store.group(name) or [name])]


def listed(store: FleetStore, limit: int) -> list[str]:
    """What waits, then what was begun, newest first."""
    waiting = [
        entry.decode(errors="replace")
        for target in TARGETS
        for entry in store.connection.lrange(keys.rq_queue(target.queue), 0, -1)
    ]
    begun = [job_id for job_id in store.recent(limit) if job_id not in waiting]
    return [*waiting, *begun][:limit]
