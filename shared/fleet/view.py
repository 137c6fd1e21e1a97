"""What is to be said of a job right now, from the record and from RQ's own keys."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from shared.contracts import Status
from shared.fleet import keys
from shared.fleet.contracts import Outcome, Progress
from shared.fleet.request_view import Requested, requested
from shared.fleet.store import FleetStore, dump_outcome
from shared.machine.targets import TARGETS
from shared.unranked import reasons_of

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
    asked: Requested
    position: int | None = None
    """in its queue; 1 is the next"""
    progress: Progress | None = None
    outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        return self.state in ("done", "unknown")

    @property
    def host(self) -> str:
        """Of the worker that has or had it; a worker's name is target.host.device.number."""
        worker = (self.outcome.worker if self.outcome else "") or self.worker
        return ".".join(worker.split(".")[1:-2]) or worker

    def to_dict(self) -> dict[str, Any]:
        hidden = ("progress", "outcome", "asked")
        plain = {name: value for name, value in vars(self).items() if name not in hidden}
        plain |= {"host": self.host, **vars(self.asked)}
        plain["progress"] = self.progress and self.progress.model_dump(mode="json")
        plain["outcome"] = self.outcome and dump_outcome(self.outcome)
        return plain


@dataclass(frozen=True)
class Overview:
    """What runs, what ended last, what waits; and how much more there is of the last two."""

    job_ids: list[str]
    more_ended: int
    more_waiting: int


def view(store: FleetStore, job_id: str) -> JobView:
    fields = store.connection.hmget(keys.rq_job(job_id), "status", "origin", "worker_name", "data")
    rq_status, queue, worker = (field.decode(errors="replace") if field else "" for field in fields[:3])
    outcome, attempts = store.outcome(job_id), store.attempts(job_id)
    asked = requested(job_id, fields[3])

    def seen(state: State, status: Status | None, summary: str, **more: Any) -> JobView:
        return JobView(job_id, state, queue, status, summary, attempts, worker, asked, **more)

    if outcome is not None:
        return seen("done", outcome.status, describe(outcome), outcome=outcome)
    if rq_status in ("queued", "scheduled", "deferred", "created"):
        if store.is_cancelled(job_id):
            return seen("done", Status.CANCELLED, "cancelled before it began")
        place = position(store, queue, job_id)
        return seen("queued", None, waiting(store, queue, place, attempts), position=place)
    if rq_status == "started":
        progress = store.progress(job_id)
        return seen("running", None, activity(progress), progress=progress)
    if rq_status:
        return seen("done", Status.CRASHED, f"RQ says {rq_status}, nothing is recorded")
    return seen("unknown", None, "no such job on this hub")


def position(store: FleetStore, queue: str, job_id: str) -> int | None:
    place = store.connection.lpos(keys.rq_queue(queue), job_id)
    return None if place is None else place + 1


def waiting(store: FleetStore, queue: str, place: int | None, attempts: int) -> str:
    again = f", {attempts} attempts so far" if attempts else ""
    if place is None:
        return f"handed to a worker of {queue}{again}"
    if not num_workers(store, queue):
        return f"number {place} in line, but no worker of {queue} runs: start one with `make worker`{again}"
    return f"number {place} in line, the workers of {queue} are busy{again}"


def num_workers(store: FleetStore, queue: str) -> int:
    """Those that still renew their key."""
    members = store.connection.smembers(keys.rq_workers(queue))
    return sum(bool(store.connection.exists(key)) for key in members)


def describe(outcome: Outcome) -> str:
    if outcome.result is not None and outcome.result.val_bpb is not None:
        unranked = f", not ranked: {reasons_of(outcome.result)}" if outcome.result.unranked else ""
        return f"val_bpb {outcome.result.val_bpb:.6f} ({outcome.result.rung}{unranked})"
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


def overview(store: FleetStore, limit: int) -> Overview:
    """All that run; then at most `limit` that ended, newest first, and at most `limit` that wait, next first."""
    running, queued = _running(store), _queued(store)
    known = {*running, *queued}
    ended = [job for job in store.recent(limit + len(known)) if job not in known]
    num_ended = max(len(ended), store.num_known() - len(known))
    jobs = [*running, *ended[:limit], *queued[:limit]]
    return Overview(jobs, num_ended - len(ended[:limit]), len(queued) - len(queued[:limit]))


def _running(store: FleetStore) -> list[str]:
    entries = [entry for target in TARGETS for entry in store.connection.zrange(keys.rq_started(target.queue), 0, -1)]
    return list(dict.fromkeys(entry.decode(errors="replace").partition(":")[0] for entry in entries))


def _queued(store: FleetStore) -> list[str]:
    entries = [entry for target in TARGETS for entry in store.connection.lrange(keys.rq_queue(target.queue), 0, -1)]
    return list(dict.fromkeys(entry.decode(errors="replace") for entry in entries))
