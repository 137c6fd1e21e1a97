"""Brings finished runs into MLflow while the worker goes on: `python -m services.worker.recorder`, a worker's child.

A process of its own, because importing mlflow takes seconds and a dead server takes more. What cannot be
recorded waits in the outbox; a run left half-written in MLflow by a kill is completed from there as well.
"""

import os
import signal
import sys
import threading

from shared.processes import exit_with_parent
from shared.tracking import flush_outbox, pending_notes

LOOK_EVERY_S, AFTER_FAILURE_S = 1.0, 15.0


def main() -> None:
    exit_with_parent()
    os.nice(10)  # the next experiment may be running
    ending = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: ending.set())
    said = ""
    while True:
        last_round = ending.is_set()
        reasons = [recorded.pending_reason for recorded in flush_outbox()] if pending_notes() else []
        waiting = next(filter(None, reasons), "")
        if waiting and waiting != said:
            print(f"recorder: {len(reasons)} runs wait for MLflow: {waiting}", file=sys.stderr, flush=True)
        said = waiting
        if last_round:
            return
        ending.wait(AFTER_FAILURE_S if waiting else LOOK_EVERY_S)


if __name__ == "__main__":
    main()
