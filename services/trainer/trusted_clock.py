"""Training time as the supervisor sees it, kept in clock.json so that a resumed run cannot be talked into more.

Checkpoints lie where the recipe may write, so what they say of the time counts for nothing. A checkpoint is worth the
seconds at which it was announced, as long as its record is still the announced one; any other is charged all the time.
"""

from time import monotonic

from shared.contracts import Contract, Sha256
from shared.files import sha256_file
from shared.runs.directory import RunDirectory, read_record, write_record

LOOK_EVERY_S = 1.0


class ClockRecord(Contract):
    seconds: float = 0.0
    """training time at the last look"""
    checkpoint_sha: Sha256 | None = None
    """of the checkpoint's record when it was announced"""
    checkpoint_seconds: float = 0.0


class TrustedClock:
    """Goes on from `spent`, the seconds of the checkpoint that training resumes from; 0 without one."""

    def __init__(self, run: RunDirectory):
        self.run = run
        self.record = read_record(run.clock_file, ClockRecord) if run.clock_file.exists() else ClockRecord()
        self.spent = self._spent()
        self._origin = 0.0

    def _spent(self) -> float:
        found = self._checkpoint_sha()
        if found is None:
            return 0.0
        return self.record.checkpoint_seconds if found == self.record.checkpoint_sha else self.record.seconds

    def _checkpoint_sha(self) -> str | None:
        path = self.run.checkpoint_dir / "latest.json"
        return sha256_file(path) if path.is_file() else None

    def start(self) -> None:
        self._origin = monotonic() - self.spent

    @property
    def seconds(self) -> float:
        return monotonic() - self._origin

    def look(self) -> None:
        self._write(seconds=self.seconds)

    def announce(self) -> None:
        """A checkpoint was written: what its record says now is worth the seconds of now."""
        seconds = self.seconds
        self._write(seconds=seconds, checkpoint_sha=self._checkpoint_sha(), checkpoint_seconds=seconds)

    def _write(self, **changes: float | str | None) -> None:
        self.record = self.record.model_copy(update=changes)
        write_record(self.run.clock_file, self.record)
