"""Brings runs into MLflow while the worker goes on: `python -m services.worker.recorder`, a worker's child.

A process of its own, because importing mlflow takes seconds and a dead server takes more. Runs that train are shown
with their curve so far. What cannot be recorded waits in the outbox; what a kill left half-written in MLflow is looked
for at the start, after every outage and now and then, and completed or closed.
"""

import os
import signal
import sys
import threading
import time

from services.worker.attempt import notes
from shared.fleet.contracts import AttemptRecord
from shared.sandbox.parent_death import exit_with_parent
from shared.tracking import LiveRuns, flush_outbox, pending_notes, reconcile_with_mlflow

LOOK_EVERY_S, SHOW_EVERY_S, AFTER_FAILURE_S, REPAIR_EVERY_S = 1.0, 10.0, 15.0, 600.0


class Recorder:
    """Its rounds. Nothing is said twice in a row."""

    def __init__(self, device: str = "") -> None:
        """`device`: of the attempts to show; those of every device of this disk when it is empty."""
        self.device, self.live = device, LiveRuns()
        self.said, self.repair_at, self.show_at = "", 0.0, 0.0
        self.repaired: list[str] = []

    def round(self) -> float:
        """Seconds until the next one is worth while."""
        waiting = self._flush()
        if self.said and not waiting:
            self.repair_at = 0.0  # what interrupted recording may have left something half-written
        self.said = waiting
        if not waiting:
            self._show()
        self._repair()
        return AFTER_FAILURE_S if waiting else LOOK_EVERY_S

    def _flush(self) -> str:
        """Why something still waits, if it does."""
        reasons = [recorded.pending_reason for recorded in flush_outbox()] if pending_notes() else []
        waiting = next(filter(None, reasons), "")
        if waiting and waiting != self.said:
            say(f"{len(reasons)} runs wait for MLflow: {waiting}")
        return waiting

    def _show(self) -> None:
        """Runs that train now. What MLflow misses while it is away it gets afterwards."""
        if time.monotonic() >= self.show_at:
            failed = self.live.look(self._attempts())
            self.show_at = time.monotonic() + (AFTER_FAILURE_S if failed else SHOW_EVERY_S)

    def _attempts(self) -> list[AttemptRecord]:
        """Those under way. One whose note is damaged is not shown."""
        try:
            return [record for record in notes() if self.device in ("", record.device)]
        except (ValueError, OSError):
            return []

    def _repair(self) -> None:
        if time.monotonic() < self.repair_at:
            return
        lines, looked = reconcile_with_mlflow()
        for line in lines:
            if line not in self.repaired:
                say(line)
        self.repaired = lines
        self.repair_at = time.monotonic() + (REPAIR_EVERY_S if looked else AFTER_FAILURE_S)


def say(line: str) -> None:
    print(f"recorder: {line}", file=sys.stderr, flush=True)


def main() -> None:
    exit_with_parent()
    os.nice(10)  # the next experiment may be running
    ending, recorder = threading.Event(), Recorder(*sys.argv[1:2])
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    while not ending.is_set():
        ending.wait(recorder.round())
    if pending_notes():
        flush_outbox()


if __name__ == "__main__":
    main()
