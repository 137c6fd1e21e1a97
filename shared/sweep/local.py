"""Runs the experiments of a sweep on this machine, one after the other. A void one is repeated, at most twice."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from shared.contracts import RunResult
from shared.experiment import run as experiment
from shared.experiment.request import build_job
from shared.machine.device_lock import DeviceBusy
from shared.runs.directory import RunDirectory
from shared.stages.executors import Executor, Watch
from shared.sweep.night import Experiment, Finished

STARTS, BUSY_POLL_S = 3, 5.0
Shown = Callable[[RunDirectory], AbstractContextManager[Watch]]


class LocalPlace:
    slots = 1

    def __init__(
        self, executor: Executor, shown: Shown, record: Callable[[RunDirectory], None], busy: Callable[[str], None]
    ) -> None:
        """`shown` gives the watch callback of a run, `record` keeps it in MLflow, `busy` says why nothing happens."""
        self.executor, self.shown, self.record, self.busy = executor, shown, record, busy
        self.waiting: list[Experiment] = []

    def begin(self, experiment: Experiment) -> None:
        self.waiting.append(experiment)

    def collect(self) -> list[Finished]:
        asked = self.waiting.pop(0)
        try:
            result = self._run(asked)
        except ValueError as error:
            return [Finished(asked.run_id, None, str(error))]
        self.record(RunDirectory.of(asked.run_id))
        return [Finished(asked.run_id, result)]

    def _run(self, asked: Experiment) -> RunResult:
        for _ in range(STARTS):
            result = self._start(asked)
            if result.void is None:
                break
        return result

    def _start(self, asked: Experiment) -> RunResult:
        """ValueError for what cannot be run here. Waits while the device is in use."""
        directory = RunDirectory.of(asked.run_id)
        told = False
        while True:
            try:
                with self.shown(directory) as watch:
                    if directory.job_file.exists():
                        return experiment.resume(directory, self.executor, watch)
                    job, source = build_job(asked.request, asked.source)
                    return experiment.run(job.model_copy(update={"run_id": asked.run_id}), source, self.executor, watch)
            except DeviceBusy as error:
                if not told:
                    self.busy(str(error))
                told = True
                time.sleep(BUSY_POLL_S)
