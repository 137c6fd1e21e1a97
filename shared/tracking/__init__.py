"""Recording of finished runs in MLflow, after the fact: training never waits for a tracking server.

`record(run_directory)` after an experiment, `flush_outbox()` whenever there is time. Both read run directories only.
"""

from shared.tracking.outbox import Recorded, flush_outbox, keep_for_later, pending_notes, record

__all__ = ["Recorded", "flush_outbox", "keep_for_later", "pending_notes", "record"]
