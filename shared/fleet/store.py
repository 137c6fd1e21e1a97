"""The record of jobs in Redis: who may run an attempt, whose result counts. Each step is one script, so nothing is
half done when a process or the connection dies, and every step may be sent again after a lost answer.

`connection` is a redis.Redis of whoever calls; this module imports no client library.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from time import time
from typing import Any

from pydantic import ValidationError

from shared.contracts import RunResult
from shared.fleet import keys
from shared.fleet.contracts import Outcome, Progress, Verdict

PROGRESS_TTL_S = 30
BATCH = 100
"""outcomes that are asked for at once"""
GIVEN_UP = "given up"
"""stands for an execution when nobody is left to run the job: a result of the newest attempt may still replace it"""

# KEYS: job, index. ARGV: job id, execution, digest of the job's data, time
BEGIN = """
local digest = redis.call('HGET', KEYS[1], 'digest')
if digest and digest ~= ARGV[3] then return {'taken', '0'} end
if redis.call('HEXISTS', KEYS[1], 'outcome') == 1 then return {'done', '0'} end
if redis.call('HGET', KEYS[1], 'execution') == ARGV[2] then
    return {'begun', redis.call('HGET', KEYS[1], 'newest')}
end
local number = redis.call('HINCRBY', KEYS[1], 'newest', 1)
redis.call('HSET', KEYS[1], 'execution', ARGV[2], 'digest', ARGV[3])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
return {'begun', tostring(number)}
"""

# KEYS: job, refused, index. ARGV: execution, outcome, GIVEN_UP, job id, time
ACCEPT = """
local accepted = redis.call('HGET', KEYS[1], 'accepted')
if accepted == ARGV[1] then return 'accepted' end
local verdict = 'accepted'
local newest = redis.call('HGET', KEYS[1], 'execution')
if accepted and accepted ~= ARGV[3] then verdict = 'late'
elseif newest and newest ~= ARGV[1] and ARGV[1] ~= ARGV[3] then verdict = 'superseded' end
if verdict == 'accepted' then
    if accepted then redis.call('RPUSH', KEYS[2], redis.call('HGET', KEYS[1], 'outcome')) end
    redis.call('HSET', KEYS[1], 'outcome', ARGV[2], 'accepted', ARGV[1])
    redis.call('ZADD', KEYS[3], ARGV[5], ARGV[4])
else
    redis.call('RPUSH', KEYS[2], ARGV[2])
end
return verdict
"""

# KEYS: job, refused, cancel
REOPEN = """
local outcome = redis.call('HGET', KEYS[1], 'outcome')
if outcome then redis.call('RPUSH', KEYS[2], outcome) end
redis.call('HDEL', KEYS[1], 'outcome', 'accepted', 'execution', 'digest')
redis.call('DEL', KEYS[3])
"""


class Answer(StrEnum):
    """To whoever wants to begin an attempt."""

    BEGUN = "begun"
    DONE = "done"
    """the job has an outcome"""
    TAKEN = "taken"
    """the id belongs to another job"""


@dataclass(frozen=True)
class Begun:
    answer: Answer
    number: int
    """fencing number of the attempt, 0 when none was begun"""


class FleetStore:
    def __init__(self, connection: Any):
        self.connection = connection

    def begin(self, job_id: str, execution: str, digest: str) -> Begun:
        """Hands out the next fencing number. Every attempt with a lower one is no longer the newest."""
        arguments = (keys.job(job_id), keys.INDEX, job_id, execution, digest, time())
        answer, number = self.connection.eval(BEGIN, 2, *arguments)
        return Begun(Answer(_text(answer)), int(number))

    def accept(self, execution: str, outcome: Outcome) -> Verdict:
        """The first result of the newest attempt counts; others are kept as evidence. Sending one again is harmless."""
        where = (keys.job(outcome.job_id), keys.refused(outcome.job_id), keys.INDEX)
        said = (execution, outcome.model_dump_json(), GIVEN_UP, outcome.job_id, time())
        verdict = self.connection.eval(ACCEPT, 3, *where, *said)
        return Verdict(_text(verdict))

    def reopen(self, job_id: str) -> None:
        """Sets the outcome aside, so that the job can be run again; its attempts go on counting."""
        self.connection.eval(REOPEN, 3, keys.job(job_id), keys.refused(job_id), keys.cancel(job_id))

    def outcome(self, job_id: str) -> Outcome | None:
        content = self.connection.hget(keys.job(job_id), "outcome")
        return Outcome.model_validate_json(content) if content else None

    def is_newest(self, job_id: str, execution: str) -> bool:
        """Whether no later attempt has begun; true also for a job this Redis knows nothing of."""
        return self.newest_execution(job_id) in ("", execution)

    def newest_execution(self, job_id: str) -> str:
        return _text(self.connection.hget(keys.job(job_id), "execution") or "")

    def attempts(self, job_id: str) -> int:
        return int(self.connection.hget(keys.job(job_id), "newest") or 0)

    def refused(self, job_id: str) -> list[Outcome]:
        return [Outcome.model_validate_json(line) for line in self.connection.lrange(keys.refused(job_id), 0, -1)]

    def ask_to_cancel(self, job_id: str) -> None:
        self.connection.set(keys.cancel(job_id), "1")

    def is_cancelled(self, job_id: str) -> bool:
        return bool(self.connection.exists(keys.cancel(job_id)))

    def set_progress(self, job_id: str, progress: Progress) -> None:
        self.connection.set(keys.progress(job_id), progress.model_dump_json(), ex=PROGRESS_TTL_S)

    def progress(self, job_id: str) -> Progress | None:
        content = self.connection.get(keys.progress(job_id))
        return Progress.model_validate_json(content) if content else None

    def add_to_group(self, group_id: str, job_id: str) -> None:
        self.connection.rpush(keys.group(group_id), job_id)

    def group(self, group_id: str) -> list[str]:
        return [_text(member) for member in self.connection.lrange(keys.group(group_id), 0, -1)]

    def recent(self, limit: int) -> list[str]:
        """Jobs that began an attempt or ended last, newest first; refused ones too."""
        return [_text(member) for member in self.connection.zrevrange(keys.INDEX, 0, limit - 1)]

    def recent_results(self, limit: int) -> Iterator[RunResult]:
        """What the experiments of those jobs ended with, newest first; without those of another version."""
        jobs = self.recent(limit)
        for first in range(0, len(jobs), BATCH):
            pipeline = self.connection.pipeline(transaction=False)
            for job_id in jobs[first : first + BATCH]:
                pipeline.hget(keys.job(job_id), "outcome")
            for content in pipeline.execute():
                with suppress(ValidationError):
                    outcome = Outcome.model_validate_json(content) if content else None
                    if outcome is not None and outcome.result is not None:
                        yield outcome.result

    def num_known(self) -> int:
        """Jobs that began or ended since this hub was made."""
        return int(self.connection.zcard(keys.INDEX))

    def end_lease(self, queue: str, job_id: str, execution: str) -> None:
        """For an attempt known to be dead: whoever looks next finds it abandoned, without waiting for its lease."""
        self.connection.zadd(keys.rq_started(queue), {f"{job_id}:{execution}": 1}, xx=True)


def dump_outcome(outcome: Outcome) -> dict[str, Any]:
    return json.loads(outcome.model_dump_json())


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
