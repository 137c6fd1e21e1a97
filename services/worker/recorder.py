"""Brings finished runs into MLflow while the worker goes on: `python -m services.worker.recorder`, a worker's child.

A process of its own, because importing mlflow takes seconds and a dead server takes more. What cannot be
recorded waits in the outbox; what a kill left half-written in MLflow is looked for at the start, after every outage
and now and then, and completed or closed.
"""

import os
import signal
import sys
import threading
import time

from shared.sandbox.parent_death import exit_with_parent
from shared.tracking import flush_outbox, pending_notes, reconcile_with_mlflow

LOOK_EVERY_S, AFTER_FAILURE_S, REPAIR_EVERY_S = 1.0, 15.0, 600.0


class Recorder:
    """Its rounds. Nothing is said twice in a row."""

    def __init__(self) -> None:
        self.said, self.repair_at = "", 0.0
        self.repaired: list[str] = []

    def round(self) -> float:
        """Seconds until the next one is worth while."""
        waiting = self._flush()
        if self.said and not waiting:
            self.repair_at = 0.0  # what interrupted recording may have left something half-written
        self.said = waiting
        self._repair()
        return AFTER_FAILURE_S if waiting else LOOK_EVERY_S

    def _flush(self) -> str:
        """Why something still waits, if it does."""
        reasons = [recorded.pending_reason for recorded in flush_outbox()] if pending_notes() else []
        waiting = next(filter(None, reasons), "")
        if waiting and waiting != self.said:
            say(f"{len(reasons)} runs wait for MLflow: {waiting}")
        return waiting

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
    ending, recorder = threading.Event(), Recorder()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    while not ending.is_set():
        ending.wait(recorder.round())
    if pending_notes():
        flush_outbox()


if __name__ == "__main__":
    main()
