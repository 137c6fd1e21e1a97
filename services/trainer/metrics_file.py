"""Telemetry on its way to metrics.jsonl: what a recipe's process sends is checked and written anew, line by line."""

from pydantic import ValidationError

from shared.contracts import Status, StepRecord
from shared.files import write_atomic
from shared.runs.directory import RunDirectory
from shared.sandbox.launch import Ended

MOST_BYTES = 2**30


class MetricsFile:
    """Opened at the step that training goes on from; later lines of an earlier attempt are dropped."""

    def __init__(self, run: RunDirectory, first_step: int):
        kept = [step.model_dump_json() + "\n" for step in run.steps() if step.step < first_step]
        write_atomic(run.metrics_file, "".join(kept))
        self._file = open(run.metrics_file, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self.next_step = first_step

    def write(self, lines: tuple[str, ...]) -> None:
        """Ended when a line is no StepRecord, or not of the next step. OSError when the disk is full."""
        for line in lines:
            self._file.write(self._checked(line).model_dump_json() + "\n")
        self._file.flush()
        if self._file.tell() > MOST_BYTES:
            raise Ended(Status.REJECTED, "the recipe's process sent more than a gigabyte of telemetry")

    def expect(self, num_steps: int, under_way: int = 0) -> None:
        """Ended when the recipe's process claims another number of steps than it sent telemetry of.

        under_way: steps at most whose telemetry comes later.
        """
        if not 0 <= num_steps - self.next_step <= under_way:
            reason = f"{num_steps} steps, with telemetry of {self.next_step}"
            raise Ended(Status.REJECTED, f"the recipe's process broke the protocol: {reason}")

    def _checked(self, line: str) -> StepRecord:
        try:
            record = StepRecord.model_validate_json(line)
        except ValidationError:
            raise Ended(
                Status.REJECTED, "the recipe's process broke the protocol: telemetry is no StepRecord"
            ) from None
        if record.step != self.next_step:
            reason = f"telemetry of step {record.step} in place of step {self.next_step}"
            raise Ended(Status.REJECTED, f"the recipe's process broke the protocol: {reason}")
        self.next_step += 1
        return record

    def close(self) -> None:
        self._file.close()
