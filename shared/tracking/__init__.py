"""Recording of finished runs in MLflow, after the fact: training never waits for a tracking server.

`record(run_directory)` after an experiment, `flush_outbox()` whenever there is time: both read run directories only.
`repair_half_recorded()` looks into MLflow for what a kill left there.
"""

from shared.tracking.half_recorded import repair_half_recorded
from shared.tracking.outbox import Recorded, flush_outbox, keep_for_later, pending_notes, record

__all__ = ["Recorded", "flush_outbox", "keep_for_later", "pending_notes", "record", "repair_half_recorded"]
