"""A command of the kernel lab as a record, and the answer to it. `autoresearch lab` and the worker's job both make one.

job = LabJob(command=Verify(candidate="fused_mlp/triton_saved"))
code, line = executor.execute("kernel-lab", [job.model_dump_json()], watch)
answer = take_answer(job)
"""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from shared.contracts import Contract, Remark
from shared.files import write_atomic
from shared.kernel_lab.folder import answer_file, doing_file
from shared.machine.device import Device
from shared.runs.directory import read_record

LARGEST_CANDIDATE_BYTES = 64 * 1024
"""of a candidate's one file: it is written by hand, or by an agent"""
INTEGRATION_BUDGET_S = 20.0
"""training seconds of each run of a comparison in the trainer; a shorter one is no evidence for a promotion"""
FEWEST_PAIRS = 5
"""of runs, in a comparison that is evidence for a promotion"""

DeviceName = Annotated[str, AfterValidator(lambda name: str(Device.parse(name)))]
OpName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
Candidate = Annotated[str, Field(min_length=1, max_length=4096)]
"""OP/KERNEL of kernels/, or the path of a workspace"""


class LabStatus(StrEnum):
    """How a command ended. Every end is one of these."""

    OK = "ok"
    FAILED = "failed"
    """it was carried out, and the answer is no: a wrong kernel, a slower one, one that may not be promoted"""
    MISSING_RUNTIME = "missing-runtime"
    """a framework, a compiler or a device that is needed is not here"""
    MISSING_TOOL = "missing-tool"
    """a program that is needed is not installed"""
    CAPTURE_UNAVAILABLE = "capture-unavailable"
    """this machine does not let itself be recorded that way"""
    INSUFFICIENT_TRACE_DATA = "insufficient-trace-data"
    """the trace does not hold what the question needs"""
    NEEDS_INTEGRATION_ADAPTER = "needs-integration-adapter"
    """no recipe takes kernels for this op, so there is nothing to compare in the trainer"""


class ListOps(Contract):
    command: Literal["list"] = "list"


class Init(Contract):
    command: Literal["init"] = "init"
    op: OpName
    workspace: Path | None = None
    """None: workspaces/OP in the lab's folder"""
    start_from: str | None = None
    """kernel whose file is copied; None: the plain reference"""
    language: Literal["triton", "torch", "mlx", "metal"] = "torch"
    refresh: bool = False
    """keep kernel.py and take the definition, reference and harness as they are now"""


class Extract(Contract):
    command: Literal["extract"] = "extract"
    profile: Path
    rank: int = Field(default=1, ge=1)
    workspace: Path | None = None


Source = Annotated[str, Field(max_length=LARGEST_CANDIDATE_BYTES)]
"""of a kernel for the op that `candidate` names, where it comes without a workspace, as through the queue"""


class Verify(Contract):
    command: Literal["verify"] = "verify"
    candidate: Candidate
    source: Source | None = None
    language: Literal["triton", "torch"] = "torch"
    """of the source"""
    device: DeviceName | None = None
    quick: bool = False
    """only the first size, in every precision"""
    limit_s: float = Field(default=60.0, gt=0, le=3600, allow_inf_nan=False)
    """of one answer of the candidate's process: its import, or one call with its gradients"""
    memory_mb: int = Field(default=4096, ge=64)
    """that a candidate may take beyond what the framework has when it is opened"""


class Bench(Contract):
    command: Literal["bench"] = "bench"
    candidate: Candidate
    source: Source | None = None
    language: Literal["triton", "torch"] = "torch"
    device: DeviceName | None = None
    against: Literal["both", "eager", "compiled"] = "both"
    rounds: int = Field(default=15, ge=5, le=1000)
    """pairs of candidate and baseline"""
    limit_s: float = Field(default=120.0, gt=0, le=3600, allow_inf_nan=False)
    memory_mb: int = Field(default=8192, ge=64)
    minutes: float = Field(default=5.0, gt=0, le=1440, allow_inf_nan=False)
    """of measuring and checking: then rounds and sizes that are not begun are left out, but for the fewest rounds of
    the first size"""
    axes: dict[str, int] | None = None
    """a size of its own instead of the definition's"""


class Profile(Contract):
    command: Literal["profile"] = "profile"
    preset: str | None = None
    """None: this machine's default shape"""
    device: DeviceName | None = None
    steps: int = Field(default=3, ge=1, le=50)
    top_k: int = Field(default=10, ge=1, le=200)
    output: Path | None = None


class Capture(Contract):
    command: Literal["capture"] = "capture"
    preset: str | None = None
    device: DeviceName | None = None
    steps: int = Field(default=3, ge=1, le=50)
    output: Path | None = None


class TraceProfile(Contract):
    command: Literal["trace-profile"] = "trace-profile"
    trace: Path
    top_k: int = Field(default=10, ge=1, le=200)


class AutoReview(Contract):
    command: Literal["auto-review"] = "auto-review"
    trace: Path


class DeepProfile(Contract):
    command: Literal["deep-profile"] = "deep-profile"
    candidate: Candidate
    device: DeviceName | None = None
    output: Path | None = None


class ReviewTrace(Contract):
    command: Literal["review-trace"] = "review-trace"
    candidate: Candidate
    trace: Path
    relevance: Literal["high", "medium", "low", "none"]
    note: Remark = ""
    device: DeviceName | None = None


class Evidence(Contract):
    command: Literal["evidence"] = "evidence"
    op: OpName | None = None
    hardware_key: str | None = None
    """None: this machine's; `all`: every machine's"""
    device: DeviceName | None = None


class Orchestrate(Contract):
    command: Literal["orchestrate"] = "orchestrate"
    profile: Path | None = None
    device: DeviceName | None = None
    top_k: int = Field(default=5, ge=1, le=50)


class PromotionCheck(Contract):
    command: Literal["promotion-check"] = "promotion-check"
    candidate: Candidate | None = None
    """None: everything that is promoted on this hardware, and what is stale is demoted"""
    device: DeviceName | None = None


class Integration(Contract):
    command: Literal["integration-ab", "integration-suite"]
    candidate: Candidate
    preset: str | None = None
    """None: this machine's default shape; the suite adds the next larger one"""
    device: DeviceName | None = None
    dataset: str | None = None
    time_budget: float = Field(default=INTEGRATION_BUDGET_S, gt=0, allow_inf_nan=False)
    repeats: int = Field(default=FEWEST_PAIRS, ge=2, le=50)
    """pairs"""

    @property
    def training_s(self) -> float:
        """Of all its runs together, at most."""
        presets = 2 if self.command == "integration-suite" else 1
        return 2 * presets * self.repeats * self.time_budget


class Promote(Contract):
    command: Literal["promote"] = "promote"
    candidate: Candidate
    device: DeviceName | None = None


Command = Annotated[
    ListOps | Init | Extract | Verify | Bench | Profile | Capture | TraceProfile | AutoReview | DeepProfile
    | ReviewTrace | Evidence | Orchestrate | PromotionCheck | Integration | Promote,
    Field(discriminator="command"),
]  # fmt: skip


class LabJob(Contract):
    """One command for `python -m services.kernel_lab`."""

    id: str = Field(default_factory=lambda: secrets.token_hex(8), pattern=r"^[0-9a-f]{16}$")
    command: Command
    holds_device: bool = False
    """whoever asks holds the device's lock, as a calibration does"""


class LabAnswer(Contract):
    """What became of a command."""

    command: str
    status: LabStatus
    headline: Remark
    """one line for people: what happened, why, what to do next"""
    lines: tuple[str, ...] = ()
    """more of it, as Markdown"""
    data: dict[str, Any] = Field(default_factory=dict)
    """the same for programs: each command documents its own in docs/kernel-lab.md"""


def leave_answer(job: LabJob, answer: LabAnswer) -> None:
    path = answer_file(job.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, answer.model_dump_json() + "\n")


def take_answer(job: LabJob) -> LabAnswer:
    """Read once, then gone. ValueError when the lab ended without one."""
    path = answer_file(job.id)
    answer = read_record(path, LabAnswer)
    path.unlink(missing_ok=True)
    doing_file(job.id).unlink(missing_ok=True)
    return answer


def leave_doing(job_id: str, line: str) -> None:
    """What the command does now, for whoever waits for it."""
    path = doing_file(job_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)


def read_doing(job_id: str) -> str:
    """Empty as long as nothing was said."""
    try:
        return doing_file(job_id).read_text(errors="replace")
    except FileNotFoundError:
        return ""
