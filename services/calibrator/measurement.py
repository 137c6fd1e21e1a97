"""What the calibrator measures: probes go to a machine, outcomes come back. Everything else is arithmetic on outcomes.

A probe is one ordinary experiment of the shipped recipe with a short budget of its own, annealed to its end. Out of
memory, crash, time-out and divergence are outcomes like any other. services/calibrator/experiments.py measures on this
machine; benchmarks/ has simulated machines with the same method.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

from pydantic import Field

from shared.contracts import Contract, Rung, RunId, Shape, Status, Unranked
from shared.evaluation.costs import signature
from shared.experiment.platform_default import Tuning

MIB = 2**20


class Probe(Contract):
    """One experiment to measure. Equal probes are one measurement."""

    preset: str
    """the family: depth, width and heads of the shape are this preset's"""
    shape: Shape
    seconds: float = Field(gt=0)
    """training budget"""
    seed: int = Field(default=42, ge=0, lt=2**32)
    rung: Rung = Rung.CHEAP
    tuning: Tuning = Tuning()
    eval_batch_size: int | None = None

    @property
    def key(self) -> str:
        """Sixteen hexadecimal digits that tell probes apart."""
        return signature(kind="probe", **self.model_dump(mode="json"))[:16]


class Outcome(Contract):
    """What one probe came to."""

    probe: Probe
    status: Status
    reason: str = ""
    run_id: RunId | None = None
    """whose run directory is the evidence; None where the machine was not asked"""
    val_bpb: float | None = None
    """exactly when the status is ok"""
    num_tokens: int = 0
    """trained on"""
    num_steps: int = 0
    tok_per_sec: float | None = None
    peak_memory_mb: float | None = None
    """MiB, of training"""
    framework: str = ""
    """with its version; empty where nothing was evaluated"""
    training_seconds: float = 0.0
    startup_seconds: float = 0.0
    """imports, compilation and warm-up"""
    eval_seconds: float = 0.0
    """scoring passes alone"""
    wall_seconds: float = 0.0
    """all of it: what the probe cost"""
    disturbed: tuple[Unranked, ...] = ()
    """of BY_THE_MACHINE (shared/unranked.py): others used the machine, or it took longer than its budget"""

    @property
    def is_ok(self) -> bool:
        return self.status is Status.OK

    @property
    def is_undisturbed(self) -> bool:
        """With a number that says what the shape scores, and how fast it is, on a machine of its own."""
        return self.is_ok and not self.disturbed


def counting(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Without disturbed ones of shapes that have an undisturbed one. On a machine that is always a little busy they
    are all there is: a default by them is better than none."""
    each = list(outcomes)
    better = {one.probe.shape for one in each if one.is_undisturbed}
    return [one for one in each if not one.disturbed or one.probe.shape not in better]


def disturbance(outcomes: Sequence[Outcome]) -> str:
    """How many were disturbed, and by what; empty where none was."""
    disturbed = [one for one in outcomes if one.disturbed]
    causes = Counter(cause for one in disturbed for cause in one.disturbed)
    said = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items()))
    return f"{len(disturbed)} of {len(outcomes)} runs were disturbed ({said})" if disturbed else ""


class Machine(Protocol):
    @property
    def memory_mb(self) -> float:
        """MiB a device can allocate from."""

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        """Runs the probe, or returns what it came to before. Ended as timed_out after `limit_s` seconds of wall-clock.

        ValueError only for what makes every probe impossible: no dataset, a device in use, a full disk.
        """
