"""RQ's worker with the promises RQ does not make: a short lease, a horse that dies with its worker, no result of an
attempt that is not the newest, no end of the worker through a job or an outage.

One worker owns one device and listens to one queue, its target's. RQ moves jobs; which result counts is decided by
shared/fleet/store.py, and the run directory is the record.
"""

import logging
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from redis.exceptions import ConnectionError, RedisError, TimeoutError
from rq.exceptions import AbandonedJobError, StopRequested
from rq.executions import Execution
from rq.serializers import JSONSerializer
from rq.worker import Worker

from services.worker.attempt import Attempt, current
from services.worker.connection import patient, quick, told_to_end
from services.worker.fleet_job import FleetJob, FleetQueue, Refused
from services.worker.log_lines import ending, is_news
from services.worker.recovery import settle_old_attempts
from shared.contracts import Status
from shared.fleet.contracts import JOB_ID_PATTERN, AttemptRecord, Outcome
from shared.fleet.store import GIVEN_UP, Answer, Begun, FleetStore
from shared.machine.births import birth_of
from shared.sandbox.parent_death import die_with_parent
from shared.stages.executors import Executor

# RQ waits TTL - 15 s for a job and gives a silent connection up 10 s later: before the lease that it should renew ends
WORKER_TTL_S, MAINTENANCE_S, MONITORING_S = 20, 10, 5
LEASE_SLACK_S = 20

log = logging.getLogger("rq.worker")


@dataclass(frozen=True)
class Post:
    """What a worker is there for."""

    target: str
    device: str
    url: str
    executor: Executor


class FleetWorker(Worker):
    job_class = FleetJob
    queue_class = FleetQueue
    log_result_lifespan = False
    post: Post
    begun: Begun | None = None
    queue_is_gone = False
    """and we were told to end"""

    @classmethod
    def at(cls, post: Post, name: str) -> "FleetWorker":
        worker = cls(
            [post.target],
            name=name,
            connection=patient(post.url),
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_S,
            maintenance_interval=MAINTENANCE_S,
            job_monitoring_interval=MONITORING_S,
            log_job_description=False,
        )
        worker.post = post
        log.addFilter(is_news)
        worker.push_exc_handler(worker._look_at_abandoned)
        return worker

    @property
    def store(self) -> FleetStore:
        return FleetStore(self.connection)

    def get_heartbeat_ttl(self, job: FleetJob, working_time: float = 0.0) -> int:
        """The lease. RQ adds a minute to the interval, and takes a job without a time limit for one."""
        return self.job_monitoring_interval + LEASE_SLACK_S

    # the start of an attempt

    def execute_job(self, job: FleetJob, queue: FleetQueue) -> None:
        """In the worker: a horse for the job. A worker that is told to stop now hands the job back."""
        try:
            super().execute_job(job, queue)
        except SystemExit:
            if self.queue_is_gone:
                raise  # the note on this disk and the end of the lease have the job started again
            job.retries_left = (job.retries_left or 0) + 1  # not the job's fault
            execution = next(iter(self.executions.values()), None)
            self.handle_job_failure(job, queue, exc_string="the worker was told to stop at once", execution=execution)
            raise
        with suppress(RedisError):
            known = self.store.outcome(job.id) if re.fullmatch(JOB_ID_PATTERN, job.id) else None
            log.info("job %s: %s", job.id, ending(known))

    def prepare_execution(self, job: FleetJob) -> Execution:
        """The fencing number is handed out before the horse is started, so both know it."""
        execution = super().prepare_execution(job)
        # for RQ's own tools: `rq info` fails abandoned jobs that have no retries written down
        self.connection.hset(job.key, "retries_left", job.retries_left)
        self.begun = None if job.refusal else self.store.begin(job.id, execution.id, job.digest)
        return execution

    def main_work_horse(self, job: FleetJob, queue: FleetQueue) -> None:
        die_with_parent(self.pid)
        super().main_work_horse(job, queue)

    def perform_job(self, job: FleetJob, queue: FleetQueue, execution: Execution) -> bool:
        """In the horse: an outcome that is there already is the answer; else an attempt is made."""
        if self.begun is None:
            job.refuse(job.refusal or "its attempt was never begun")
        elif self.begun.answer is Answer.TAKEN:
            job.refuse(f"job id {job.id} belongs to another job: choose another id")
        elif self.begun.answer is Answer.DONE:
            job.known_outcome = self.store.outcome(job.id)
        else:
            current.set(self._attempt(job, execution, self.begun.number))
            if self.store.is_cancelled(job.id):
                job.known_outcome = self._end(job, execution, Status.CANCELLED, "cancelled before it began")
        return super().perform_job(job, queue, execution)

    def _attempt(self, job: FleetJob, execution: Execution, number: int) -> Attempt:
        record = AttemptRecord(
            job_id=job.id,
            number=number,
            execution=execution.id,
            queue=job.origin,
            device=self.post.device,
            worker=self.name,
            host=socket.gethostname(),
            group=group_of(job),
            pid=os.getpid(),
            started_at=time.time(),
            birth=birth_of(os.getpid()),
        )
        return Attempt(
            record=record,
            target=self.post.target,
            retries_left=job.retries_left or 0,
            store=self.store,
            looking_in=FleetStore(quick(self.post.url)),
            executor=self.post.executor,
        )

    # the end of an attempt

    def handle_job_success(self, job, queue, started_job_registry, execution) -> None:
        if self._is_superseded(job, execution):
            self._forget(job, execution)
        else:
            super().handle_job_success(job, queue, started_job_registry, execution)

    def handle_job_failure(self, job, queue, started_job_registry=None, exc_string="", execution=None) -> None:
        """What ends here is a fault of the infrastructure, or a job nobody may run. RQ starts it again or gives up."""
        if execution is not None and self._is_superseded(job, execution):
            self._forget(job, execution)
            return
        if self._stopped_job_id == job.id:
            self._end(job, execution, Status.CANCELLED, "stopped on request")
        elif job.refusal:
            self._end(job, execution, Status.INVALID, job.refusal)
        elif not job.should_retry:
            self._give_up(job, exc_string)
        super().handle_job_failure(job, queue, started_job_registry, exc_string, execution)

    def handle_exception(self, job: FleetJob, *exc_info) -> None:
        """RQ's prints the arguments, recipe included."""
        level = logging.WARNING if isinstance(exc_info[1], Refused) else logging.ERROR
        log.log(level, "job %s: %s", job.id, " ".join(str(exc_info[1]).split())[:500])

    def _end(self, job: FleetJob, execution: Execution | None, status: Status, reason: str) -> Outcome | None:
        if not re.fullmatch(JOB_ID_PATTERN, job.id):
            return None  # nobody can ask for it
        number = self.store.attempts(job.id)
        outcome = Outcome(job_id=job.id, status=status, reason=reason, attempt=number, worker=self.name)
        self.store.accept(execution.id if execution else GIVEN_UP, outcome)
        return outcome

    def _give_up(self, job: FleetJob, exc_string: str) -> None:
        last_line = (exc_string.strip().splitlines() or ["no reason known"])[-1][:300]
        self._end(job, None, Status.CRASHED, f"given up after the last attempt: {last_line}")

    def _look_at_abandoned(self, job: FleetJob, kind: type, *_: object) -> None:
        """RQ asks its exception handlers before it starts an abandoned job again or gives up on it."""
        if kind is AbandonedJobError and not job.should_retry:
            self._give_up(job, "its worker died")

    def _is_superseded(self, job: FleetJob, execution: Execution) -> bool:
        """An execution that only repeats an outcome is no attempt, so nothing supersedes it."""
        attempted = self.begun is not None and self.begun.answer is Answer.BEGUN
        return attempted and not self.store.is_newest(job.id, execution.id)

    def _forget(self, job: FleetJob, execution: Execution) -> None:
        """The job is somebody else's by now: only the traces of this execution go."""
        log.warning("job %s: attempt superseded by a newer one, its end is not reported", job.id)
        with self.connection.pipeline() as pipeline:
            self.cleanup_execution(job, pipeline=pipeline, execution=execution)
            pipeline.execute()

    # while it runs

    def maintain_heartbeats(self, job: FleetJob, execution: Execution) -> None:
        """An outage here is nothing to the attempt; a lost lease ends it."""
        try:
            super().maintain_heartbeats(job, execution)
            if self._is_superseded(job, execution):
                log.warning("job %s: lost its lease, ending the attempt", job.id)
                self.kill_horse()
            elif self.should_run_maintenance_tasks:
                self.run_maintenance_tasks()
        except (ConnectionError, TimeoutError) as error:
            log.error("no heartbeat for job %s: %s", job.id, error)
            if told_to_end.is_set():
                self._leave()

    def run_maintenance_tasks(self) -> None:
        """Looks for abandoned jobs, also while this worker is busy. Nothing found there ends the worker."""
        try:
            settle_old_attempts(self.store, self.post.device)
            super().run_maintenance_tasks()
        except (RedisError, StopRequested):
            raise
        except Exception:
            log.exception("maintenance failed, trying again in %d s", self.maintenance_interval)
            self.last_cleaned_at = self.last_cleaned_at or self.birth_date

    # the end of the worker

    def _shutdown(self) -> None:
        """RQ's ends an idle worker, and lets a busy one finish its attempt."""
        told_to_end.set()
        try:
            super()._shutdown()
        except (ConnectionError, TimeoutError):
            self._leave()

    def _leave(self) -> NoReturn:
        """An attempt whose hub stops with us could not be delivered: it goes on from its checkpoint later."""
        log.warning("told to end, and the queue does not answer: ending at once")
        self.queue_is_gone = True
        if self.horse_pid:
            self.kill_horse()
            self.wait_for_horse()
        raise SystemExit

    def teardown(self) -> None:
        """A queue that is gone forgets this worker when its key expires."""
        try:
            if not self.queue_is_gone:
                super().teardown()
        except (ConnectionError, TimeoutError) as error:
            if not told_to_end.is_set():
                raise
            log.warning("ended without telling the queue: %s", error)

    def _pubsub_exception_handler(self, exc, pubsub, pubsub_thread) -> None:
        """RQ's lets the thread end at anything but a refused connection; then nobody hears `rq` or `drain` any more."""
        log.error("commands cannot be heard: %s", exc)
        time.sleep(2.0)


def group_of(job: FleetJob) -> str:
    """What whoever enqueued the job wrote down for all jobs of one submission; empty when nothing was."""
    group = job.meta.get("group") if isinstance(job.meta, dict) else None
    return group if isinstance(group, str) else ""
