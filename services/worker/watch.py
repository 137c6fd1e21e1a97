"""Beside an experiment: does somebody want it to end, did the machine sleep, how far is it?

A thread looks into Redis over a connection of its own that gives up quickly, so an outage never holds up the
experiment; the executor's watch callback, in the main thread, is where an experiment ends.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from services.worker.attempt import Attempt
from shared.fleet.contracts import Progress
from shared.machine.stops import LONGEST_STOP_S, seconds_asleep
from shared.runs.evaluating import read_evaluating
from shared.runs.listing import last_step
from shared.stages.executors import Watch
from shared.stages.table import find_stage

LOOK_EVERY_S = 0.15
PROGRESS_EVERY_S = 1.0
WAITING = "device"
"""told in place of a stage while somebody else of this machine uses the device"""


class Cancelled(Exception):
    """Somebody asked for the end of this job."""


class Slept(Exception):
    """The machine was suspended during the experiment."""


class TookTooLong(Exception):
    """The stage worked for longer than the job may."""


@contextmanager
def watching(attempt: Attempt, limit_s: float | None = None) -> Iterator[Watch]:
    """The callback for the experiment. It raises Cancelled, Slept or TookTooLong, which ends the stage and its
    processes."""
    watcher = Watcher(attempt, limit_s)
    thread = threading.Thread(target=watcher.look, name="watch", daemon=True)
    thread.start()
    try:
        yield watcher.tick
    finally:
        watcher.over.set()
        thread.join(timeout=5)


class Watcher:
    def __init__(self, attempt: Attempt, limit_s: float | None = None):
        self.attempt, self.limit_s, self.working_since = attempt, limit_s, time.monotonic()
        self.stage: str | None = None
        self.cancelled, self.over = threading.Event(), threading.Event()
        self.asleep_before = seconds_asleep()
        self.told_at = 0.0

    def tick(self, stage: str) -> None:
        self.stage = stage
        if self.cancelled.is_set():
            raise Cancelled("cancelled on request")
        if stage == WAITING:
            self.working_since = time.monotonic()
        if self.limit_s is not None and time.monotonic() - self.working_since > self.limit_s:
            raise TookTooLong(f"it took longer than the {self.limit_s:g} s that this worker takes a job for")
        asleep = seconds_asleep() - self.asleep_before
        if asleep > LONGEST_STOP_S:
            raise Slept(f"void: this machine slept for {asleep:.0f} s during the attempt")

    def look(self) -> None:
        while not self.over.wait(LOOK_EVERY_S):
            try:
                self._look_once()
            except RedisError:
                continue

    def _look_once(self) -> None:
        store, job_id = self.attempt.looking_in, self.attempt.record.job_id
        if store.is_cancelled(job_id):
            self.cancelled.set()
        if time.monotonic() - self.told_at >= PROGRESS_EVERY_S:
            self.told_at = time.monotonic()
            store.set_progress(job_id, self._progress())

    def _progress(self) -> Progress:
        number, step = self.attempt.record.number, None
        if self.stage == WAITING:
            return Progress(attempt=number, activity=f"waiting for the device {self.attempt.record.device}")
        if self.stage and find_stage(self.stage).counts_steps:
            step = last_step(self.attempt.directory.metrics_file)
        if self.stage == "evaluator" and (scored := read_evaluating(self.attempt.directory.path)):
            return Progress(attempt=number, activity=f"evaluating {scored.share:.0%}", progress=scored.share)
        if step is None:
            return Progress(attempt=number, activity=find_stage(self.stage).activity if self.stage else "starting")
        return Progress(
            attempt=number,
            activity="training",
            progress=step.progress,
            step=step.step,
            loss=step.loss_ema if abs(step.loss_ema) < 1e9 else None,
            tok_per_sec=step.tok_per_sec,
        )
