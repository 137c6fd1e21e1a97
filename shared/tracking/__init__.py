"""Recording of finished runs in MLflow, after the fact: training never waits for a tracking server.

`record(run_directory)` after an experiment, `flush_outbox()` whenever there is time: both read run directories only.
`reconcile_with_mlflow()` looks into MLflow for what a kill left there.
"""

from shared.tracking.live import LiveRuns
from shared.tracking.outbox import (
    Recorded,
    flush_outbox,
    keep_calibration_for_later,
    keep_for_later,
    pending_notes,
    record,
)
from shared.tracking.reconcile import reconcile_with_mlflow

__all__ = [
    "LiveRuns",
    "Recorded",
    "flush_outbox",
    "keep_calibration_for_later",
    "keep_for_later",
    "pending_notes",
    "reconcile_with_mlflow",
    "record",
]
