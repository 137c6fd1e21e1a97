"""What every phase works with: the calibration, its folder, the machine, the minutes left, and who is told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from services.calibrator.measurement import Machine, Outcome, Probe
from shared.calibration.events import append_event
from shared.calibration.job import CLOSING_S, Calibration
from shared.contracts import Shape
from shared.data.dataset import MAX_VALIDATION_ROWS, VALIDATION_SEQ_LEN, open_reference
from shared.experiment.presets import find_preset
from shared.quality import QualityTable
from shared.quality.model_size import model_size

if TYPE_CHECKING:
    from services.calibrator.kernels import Lab


class Clock:
    """Minutes of a calibration, over all processes that worked on it."""

    def __init__(self, minutes: float, spent_s: float = 0.0, now: Callable[[], float] = monotonic):
        self.total_s, self._now = 60.0 * minutes, now
        self._before_s, self._started = spent_s, now()

    @property
    def spent_s(self) -> float:
        return self._before_s + self._now() - self._started

    @property
    def remaining_s(self) -> float:
        return max(0.0, self.total_s - CLOSING_S - self.spent_s)


@dataclass
class Work:
    calibration: Calibration
    folder: Path
    machine: Machine
    clock: Clock
    table: QualityTable
    lab: "Lab | None" = None
    """judges kernels; None where a machine is simulated"""
    phase: str = ""
    best: str = ""
    """the best shape so far, in words"""
    left_out: tuple[str, ...] = ()
    """what of the quality rows could not be read"""

    def say(self, text: str) -> None:
        self._event(kind="note", says=text)

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        """Measures and tells. The limit never reaches beyond the calibration's minutes."""
        outcome = WithinMinutes(self).measure(probe, limit_s)
        self.tell(outcome)
        return outcome

    def begin(self, probe: Probe) -> None:
        self._event(kind="begun", says=describe_probe(probe))

    def tell(self, outcome: Outcome, best: str = "") -> None:
        self.best = best or self.best
        self._event(
            kind="probe", says=describe(outcome), status=outcome.status, run_id=outcome.run_id, best=self.best
        )  # fmt: skip

    def _event(self, **fields: object) -> None:
        append_event(self.folder, spent_s=self.clock.spent_s, phase=self.phase, **fields)

    @property
    def vocab_size(self) -> int:
        return open_reference(self.calibration.dataset).vocab_size

    @property
    def validation_rows(self) -> int:
        """About as many as there are: only the evaluator may see the rows themselves."""
        manifest = open_reference(self.calibration.dataset).manifest
        removed = manifest.repeats.removed_tokens if manifest.repeats else 0
        rows = (manifest.validation.num_tokens - removed) // VALIDATION_SEQ_LEN
        return max(1, min(MAX_VALIDATION_ROWS, rows))

    def flops_per_token(self, shape: Shape) -> float:
        return model_size(shape, self.vocab_size).flops_per_token

    def presets_by_size(self) -> list[str]:
        """Smallest step first."""
        shapes = {name: find_preset(name).shape for name in self.calibration.presets}
        return sorted(
            shapes,
            key=lambda name: self.flops_per_token(shapes[name])
            * shapes[name].seq_len
            * shapes[name].device_batch_size,
        )  # fmt: skip


@dataclass(frozen=True)
class WithinMinutes:
    """A Machine whose probes end with the calibration's minutes."""

    work: Work

    @property
    def memory_mb(self) -> float:
        return self.work.machine.memory_mb

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        self.work.begin(probe)
        return self.work.machine.measure(probe, max(1.0, min(limit_s, self.work.clock.remaining_s)))


def describe(outcome: Outcome) -> str:
    """One line a person understands."""
    probe, what = outcome.probe, describe_probe(outcome.probe)
    if not outcome.is_ok:
        return f"{what}: {outcome.status.replace('_', ' ')}{f', {outcome.reason}' if outcome.reason else ''}"
    disturbed = f", disturbed: {', '.join(outcome.disturbed)}" if outcome.disturbed else ""
    return (
        f"{what}: val_bpb {outcome.val_bpb:.4f} on {probe.rung}, {outcome.tok_per_sec or 0:,.0f} tok/s, "
        f"{outcome.peak_memory_mb or 0:,.0f} MiB{disturbed}"
    )


def describe_probe(probe: Probe) -> str:
    return f"{probe.preset} {describe_shape(probe.shape)}, {probe.seconds:g} s"


def describe_shape(shape: Shape) -> str:
    return f"seq {shape.seq_len}, batch {shape.device_batch_size}/{shape.total_batch_size}, {shape.window_pattern}"
