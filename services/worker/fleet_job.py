"""RQ's Job and Queue where anybody may enqueue: JSON only, our job functions only, nothing else named by a job.

What a stored job says beside its function and arguments (callbacks, webhooks, dependencies, time limits, thousands
of retries) is dropped or bounded, and a job that cannot be read is set aside; none of it ends the worker.
"""

import hashlib
import json
import logging
import re
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError
from rq.exceptions import DequeueTimeout, NoSuchJobError
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.utils import now

from services.worker import jobs
from shared.contracts import LARGEST_RECIPE_BYTES
from shared.fleet.contracts import JOB_ID_PATTERN, MAX_ATTEMPTS, Outcome
from shared.fleet.store import dump_outcome
from shared.stages.table import STAGES, job_path

FUNCTIONS: dict[str, Callable[..., Any]] = {
    job_path(name): getattr(jobs, name) for name in (stage.job_function for stage in STAGES if stage.job_function)
}
# escaped, every byte of a recipe may take six
MAX_DATA_BYTES = 6 * LARGEST_RECIPE_BYTES + 16_384
RESULT_TTL_S = 7 * 24 * 3600
MAINTENANCE_LOCK_S = 30
STUCK_AFTER_S = 15

_KEPT = frozenset(
    b"created_at origin description enqueued_at started_at ended_at last_heartbeat worker_name status "
    b"retries_left group_id meta result exc_info".split()
)
_FOREIGN_NAMES: tuple[bytes, ...] = (
    b"success_callback_name",
    b"failure_callback_name",
    b"stopped_callback_name",
    b"webhooks",
)
_FOREIGN_NAMES += (b"dependency_id", b"dependency_ids", b"repeats_left")
_NOTHING = json.dumps(["", None, [], {}]).encode()

log = logging.getLogger("rq.worker")


class Refused(PermissionError):
    """The job is none of ours; the message says why."""


class FleetJob(Job):
    refusal: str = ""
    """why the job will not be run, found while it was read"""
    known_outcome: Outcome | None = None
    """the answer, when there is nothing left to run"""

    def restore(self, raw_data: dict) -> None:
        """Never raises for what the job says, only for a job that is not there."""
        fields = {_bytes(name): value for name, value in raw_data.items()}
        if b"data" not in fields:
            raise NoSuchJobError(f"No such job: {self.key}")
        content = _NOTHING
        try:
            super().restore({name: fields[name] for name in _KEPT & fields.keys()} | {b"data": _NOTHING})
            self._check_id_and_names(fields)
            content = _inflated(fields[b"data"])
            _check_call(content)
        except Exception as error:  # the edge of what a stranger wrote
            self.refusal = " ".join(f"{error}".split())[:300] or type(error).__name__
            content = _NOTHING
            super().restore({b"data": _NOTHING, b"status": b"queued", b"origin": fields.get(b"origin", b"")})
        self.data = content  # not by RQ's restore, which inflates it without a limit
        self._apply_our_limits()

    def _check_id_and_names(self, fields: dict[bytes, bytes]) -> None:
        if not re.fullmatch(JOB_ID_PATTERN, self.id):
            raise Refused("a job id has 1 to 64 letters, digits, - or _, and starts with a letter or digit")
        named = [name.decode() for name in _FOREIGN_NAMES if fields.get(name) not in (None, b"", b"[]")]
        if named:
            raise Refused(f"a job here may not have {', '.join(named)}")

    def _apply_our_limits(self) -> None:
        """The supervisor owns the clock, so RQ's is off; faults of the infrastructure are retried, not for ever."""
        left = MAX_ATTEMPTS - 1 if self.retries_left is None else self.retries_left
        self.retries_left = 0 if self.refusal else min(left, MAX_ATTEMPTS - 1)
        self.retry_intervals = None
        self.enqueue_at_front_on_retry = True  # it has waited its turn already
        self.timeout, self.result_ttl, self.failure_ttl, self.ttl = -1, RESULT_TTL_S, RESULT_TTL_S, None

    def refuse(self, reason: str) -> None:
        self.refusal, self.retries_left = reason, 0

    @property
    def digest(self) -> str:
        """Tells jobs apart that were given the same id."""
        return hashlib.sha256(self.data).hexdigest()

    def _execute(self) -> Any:
        """Looked up in our list, never imported by name."""
        if self.refusal:
            raise Refused(f"refused: {self.refusal}")
        if self.known_outcome is not None:
            return dump_outcome(self.known_outcome)
        return FUNCTIONS[str(self.func_name)](**self.kwargs)

    def get_call_string(self) -> str | None:
        """Without the arguments: a recipe does not belong into a log."""
        return None


class HandedOut(IntermediateQueue):
    """Jobs that a worker was given and has not begun: there for milliseconds, unless nobody heard the answer."""

    def should_be_cleaned_up(self, job_id: str) -> bool:
        first_seen = self.get_first_seen(job_id)
        return first_seen is not None and now() - first_seen > timedelta(seconds=STUCK_AFTER_S)

    def remove(self, job_id: str) -> None:
        """RQ's remembers when it first saw the job, and would take its next stay here for a long one."""
        super().remove(job_id)
        self.connection.delete(self.get_first_seen_key(job_id))


class FleetQueue(Queue):
    job_class = FleetJob

    @property
    def intermediate_queue(self) -> HandedOut:
        return HandedOut(self.key, connection=self.connection)

    def acquire_maintenance_lock(self) -> bool:
        """RQ's is held for a quarter of an hour when its holder dies."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=MAINTENANCE_LOCK_S))

    @classmethod
    def dequeue_any(
        cls,
        queues: Any,
        timeout: int | None,
        connection: Any,
        job_class: Any = None,
        serializer: Any = None,
        death_penalty_class: Any = None,
    ) -> Any:
        """Like RQ's for one queue, except that an entry nobody can read is set aside instead of ending the worker."""
        (queue,) = queues
        while True:
            entry = cls._take(queue, timeout, connection)
            if entry is None:
                return None
            try:
                job_id = entry.decode("ascii")
                found = cls._fetch_dequeued_job(
                    connection, queue.key, job_id, job_class, serializer, death_penalty_class
                )
            except RedisError:
                raise
            except Exception as error:
                log.warning("refused an entry of queue %s: %s", queue.name, " ".join(str(error).split())[:200])
                found = None
            if found is not None:
                return found
            connection.lrem(queue.intermediate_queue_key, 1, entry)

    @staticmethod
    def _take(queue: Queue, timeout: int | None, connection: Any) -> bytes | None:
        """Moved to the intermediate list in the same step: an answer that is lost costs no job."""
        if timeout is None:
            return connection.lmove(queue.key, queue.intermediate_queue_key)
        entry = connection.blmove(queue.key, queue.intermediate_queue_key, timeout)
        if entry is None:
            raise DequeueTimeout(timeout, queue.key)
        return entry


def _check_call(content: bytes) -> None:
    try:
        name, instance, arguments, named_arguments = JSONSerializer.loads(content)
    except Exception:
        raise Refused("the job is not JSON: rq enqueue -S json, or serializer=JSONSerializer") from None
    if instance is not None or not isinstance(name, str) or name not in FUNCTIONS:
        raise Refused(f"{str(name)[:100]!r} may not be run here, only {', '.join(FUNCTIONS)}")
    if arguments or not isinstance(named_arguments, dict):
        raise Refused("give arguments by name, as in recipe=@my_recipe.py preset=m5-tiny")


def _inflated(data: bytes) -> bytes:
    """At most MAX_DATA_BYTES: a few kilobytes may claim to be gigabytes."""
    try:
        inflater = zlib.decompressobj()
        content = inflater.decompress(data, MAX_DATA_BYTES + 1)
    except zlib.error:
        content = data
    if len(content) > MAX_DATA_BYTES:
        raise Refused(f"the job is larger than {MAX_DATA_BYTES >> 10} KiB: a recipe has {LARGEST_RECIPE_BYTES >> 10}")
    return content


def _bytes(name: bytes | str) -> bytes:
    return name.encode() if isinstance(name, str) else name
