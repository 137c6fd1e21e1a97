"""What an evaluation knows so far, and the record it becomes, however it ends."""

from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from services.evaluator.compute_limits import Spent
from services.evaluator.passes import Passes
from shared.contracts import Check, Choice, CurvePoint, EvaluationRecord, Integrity, Job, RungChoice, Status, VoidCause
from shared.evaluation.rungs import eval_signature
from shared.machine.gpu_watch import GpuWatch
from shared.runs.directory import RunDirectory
from shared.sandbox.launch import Ended


@dataclass(frozen=True)
class Number:
    """What only an evaluation that passed every check may say, with all it could be computed from."""

    val_bpb: float
    source_bpb: float
    val_bpb_upstream: float
    total_nats: float
    total_bytes: int


@dataclass
class Evaluation:
    """Fields are filled as they become known; None and 0 are what a record says of what never was."""

    run: RunDirectory
    job: Job
    started: float = field(default_factory=monotonic)
    spent: Spent = field(default_factory=Spent)
    checks: tuple[Check, ...] = ()
    choices: list[Choice] = field(default_factory=list)
    eval_batch_size: int | None = None
    framework: str = ""
    integrity: Integrity | None = None
    rung: RungChoice | None = None
    num_tokens: int = 0
    eval_seconds: float = 0.0
    peak_vram_mb: float | None = None
    number: Number | None = None
    curve: tuple[CurvePoint, ...] = ()
    auditing: bool = False
    """from the auditor's start to the verdict"""

    def __post_init__(self) -> None:
        self.passes = Passes(self.run)
        self.gpu = GpuWatch(self.job.device)

    def __enter__(self) -> "Evaluation":
        self.passes.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.gpu.close()
        self.passes.__exit__(*error)

    def note(self, what: str, chosen: str, reason: str) -> None:
        self.choices.append(Choice(what=what, chosen=chosen, reason=reason))

    def add(self, *checks: Check) -> None:
        """Ended with status rejected at the first check that failed."""
        self.checks += checks
        for check in checks:
            if not check.passed:
                raise Ended(Status.REJECTED, f"{check.name}: {check.detail}")

    def check_gpus(self) -> None:
        if self.gpu.strayed:
            raise Ended(Status.REJECTED, f"compute: the recipe used other GPUs than {self.job.device}")

    def record(self, status: Status, reason: str = "", void: VoidCause | None = None) -> EvaluationRecord:
        passed = status is Status.OK and self.number is not None
        return EvaluationRecord(
            status=status,
            reason=reason,
            void=void,
            rung=self.rung,
            num_tokens=self.num_tokens,
            eval_seconds=self.eval_seconds,
            load_seconds=tuple(self.spent.loads),
            forward_seconds=tuple(self.spent.forwards),
            outside_seconds=self.spent.outside,
            total_seconds=monotonic() - self.started,
            eval_batch_size=self.eval_batch_size,
            eval_signature=eval_signature(),
            framework=self.framework,
            peak_vram_mb=self.peak_vram_mb,
            integrity=self.integrity,
            checks=self.checks,
            unfinished_audits=int(self.auditing),
            choices=tuple(self.choices),
            curve=self.curve if passed else (),
            **(asdict(self.number) if passed and self.number else {}),
        )
