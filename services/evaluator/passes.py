"""How far an evaluation is, for people: evaluating.json in the run directory, written once a second, then gone."""

from math import ceil
from time import monotonic
from typing import Any

from services.evaluator.audit import num_probes, num_screening_rows
from shared.runs.directory import RunDirectory
from shared.runs.evaluating import NAME, EvaluationProgress

EVERY_S = 1.0


class Passes:
    """Counts forward passes. As a context manager it removes its file."""

    def __init__(self, run: RunDirectory):
        self.file, self.done, self.expected = run.path / NAME, 0, 1
        self.told_at = 0.0

    def __enter__(self) -> "Passes":
        return self

    def __exit__(self, *_: Any) -> None:
        self.file.unlink(missing_ok=True)

    def expect(self, num_rows: int, batch_size: int, num_curve_rows: int = 0) -> None:
        """Scoring, the curve's points, screening rows and the usual number of probes, each in full batches."""
        parts = (num_rows, num_curve_rows, num_screening_rows(num_rows), num_probes(num_rows))
        self.expected = max(1, sum(ceil(part / batch_size) for part in parts))

    def one_more(self) -> None:
        """Not synced: it says nothing that counts."""
        self.done += 1
        if monotonic() - self.told_at < EVERY_S:
            return
        self.told_at = monotonic()
        progress = EvaluationProgress(num_passes=self.done, expected=self.expected)
        incoming = self.file.with_name(".evaluating.incoming")
        incoming.write_text(progress.model_dump_json())
        incoming.rename(self.file)
