"""Runs the experiments of a sweep on a fleet's queue, under names of its own, so that no run is enqueued twice.

A hub that is away is waited for: its jobs go on, and so does the sweep when it is back.
"""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from services.console.hub_connection import hub, queue, store
from shared.fleet.view import JobView, view
from shared.stages.table import job_path
from shared.sweep.night import Experiment, Finished

Answer = TypeVar("Answer")
LOOK_EVERY_S, AWAY_POLL_S = 2.0, 5.0


class QueuePlace:
    def __init__(self, target: str, group: str, parallel: int | None) -> None:
        """ValueError when no hub answers now; later its absence is waited for."""
        self.target, self.group = target, group
        self.waiting: dict[str, Experiment] = {}
        self.slots = parallel or max(1, num_workers(target))

    def begin(self, experiment: Experiment) -> None:
        self.waiting[experiment.run_id] = experiment
        patiently(lambda: self._enqueue(experiment))

    def _enqueue(self, experiment: Experiment) -> None:
        """Nothing where the job is known: it waits, runs or has ended. One that RQ has forgotten is answered anew."""
        with hub() as connection:
            if view(store(connection), experiment.run_id).state != "unknown":
                return
            asked = experiment.request.model_dump(mode="json", exclude_defaults=True)
            source = {"recipe": experiment.source.decode()} if experiment.source else {}
            store(connection).add_to_group(self.group, experiment.run_id)
            queue(self.target, connection).enqueue_call(
                job_path("train"), kwargs=asked | source, job_id=experiment.run_id, meta={"group": self.group}
            )

    def collect(self) -> list[Finished]:
        while True:
            over = [seen for seen in patiently(self._views) if seen.is_over]
            if over:
                for seen in over:
                    del self.waiting[seen.job_id]
                return [finished(seen) for seen in over]
            time.sleep(LOOK_EVERY_S)

    def _views(self) -> list[JobView]:
        with hub() as connection:
            return [view(store(connection), job) for job in self.waiting]


def finished(seen: JobView) -> Finished:
    outcome = seen.outcome
    if outcome is None or outcome.result is None:
        return Finished(seen.job_id, None, seen.summary)
    return Finished(seen.job_id, outcome.result, outcome.reason)


def num_workers(target: str) -> int:
    from rq.worker import Worker

    with hub() as connection:
        return Worker.count(queue=queue(target, connection))


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Until the hub answers. The first time that it does not is said."""
    told = False
    while True:
        try:
            return ask()
        except ValueError as error:
            if not told:
                print(f"waiting for the hub: {error}", file=sys.stderr, flush=True)
            told = True
            time.sleep(AWAY_POLL_S)
