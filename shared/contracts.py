"""What crosses a process: frozen pydantic models that forbid extra fields.

A job goes in, records come out, `RunResult` is the summary people compare. Imports no framework, Redis or MLflow.
"""

import math
import re
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from shared.bounds import LARGEST_RECIPE_BYTES as LARGEST_RECIPE_BYTES
from shared.bounds import OUR_CHOICES as OUR_CHOICES
from shared.bounds import (
    BitsPerByte,
    IdeaId,
    Megabytes,
    MfuPercent,
    Milliseconds,
    Name,
    NumParams,
    NumSteps,
    NumTokens,
    OneLine,
    Percent,
    Remark,
    RunId,
    Seconds,
    Sha256,
    Size,
    TokensPerSecond,
)
from shared.bounds import Share as Share
from shared.bounds import one_line as one_line
from shared.ends import Status as Status
from shared.ends import Unranked as Unranked
from shared.ends import VoidCause as VoidCause
from shared.kernel_names import Kernels
from shared.time_budget import said


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rung(StrEnum):
    """Evaluation fidelity, from a look that is never ranked to all validation rows."""

    SMOKE = "smoke"
    PROBE = "probe"
    CHEAP = "cheap"
    REFERENCE = "reference"
    FULL = "full"

    @property
    def is_ranked(self) -> bool:
        return self not in (Rung.SMOKE, Rung.PROBE)


class Integrity(StrEnum):
    """How far the recipe was fenced in while its number was made. Says nothing about the number itself."""

    FULL = "full"
    """every isolation of docs/security.md was enforced, and tried before the recipe was read"""
    PARTIAL = "partial"
    """a sandbox stood, but something on that list could not be had on this machine; `choices` names it"""
    NONE = "none"
    """the recipe ran without a sandbox"""


def weaker(first: Integrity | None, second: Integrity | None) -> Integrity | None:
    """None, not known, is weaker than anything that is."""
    return max(first, second, key=[*Integrity].index) if first and second else None


class Shape(Contract):
    """Size of the model and of its batches. All of it together says less than 40 bytes."""

    seq_len: int = Field(gt=1, lt=2**31)
    """tokens of context in one training row"""
    depth: Size
    """transformer layers"""
    d_model: Size
    heads: Size
    device_batch_size: Size
    """rows in one forward/backward pass"""
    total_batch_size: Size
    """tokens in one optimizer step"""
    window_pattern: str = Field(pattern=r"^[SL]{1,100}$")
    """one letter a layer, repeated: L looks back seq_len tokens, S half of that; the last layer is always L"""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.d_model % (2 * self.heads):
            raise ValueError(f"d_model {self.d_model} must be a multiple of 2 x heads ({self.heads})")
        tokens_per_pass = self.device_batch_size * self.seq_len
        if self.total_batch_size % tokens_per_pass:
            raise ValueError(
                f"total_batch_size {self.total_batch_size} must be a multiple of device_batch_size x seq_len = "
                f"{self.device_batch_size} x {self.seq_len} = {tokens_per_pass}"
            )
        return self

    @property
    def rows_per_step(self) -> int:
        return self.total_batch_size // self.seq_len

    @property
    def accumulation_steps(self) -> int:
        return self.rows_per_step // self.device_batch_size


class Budget(Contract):
    """How long training runs: seconds of training wall-clock, or tokens. Exactly one is set."""

    seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tokens: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.seconds is None) == (self.tokens is None):
            raise ValueError("a budget is either seconds or tokens")
        return self

    @property
    def allowed_seconds(self) -> float:
        """The longest run that is comparable: 0.1 s and 0.75 % over it are what ending a step takes."""
        return math.inf if self.seconds is None else 1.0075 * self.seconds + 0.1

    def covers(self, training_seconds: float) -> bool:
        """Whether a run of that length is comparable."""
        return training_seconds <= self.allowed_seconds

    def __str__(self) -> str:
        return said(self.seconds) if self.seconds is not None else f"{self.tokens:,} tokens"


class DatasetRef(Contract):
    """Names a prepared dataset. The fingerprint must match what is found under that name."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    fingerprint: Sha256


class PrepareJob(Contract):
    """Work for the preparation: make a dataset, or add rows of other lengths to one that is there."""

    corpus: str
    """climbmix, stdlib or parquet:DIR"""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    """what the dataset is called afterwards; None derives it from the corpus"""
    shards: int = Field(default=10, ge=1, le=6542)
    """training shards of climbmix; the validation shard is always taken"""
    text_column: str = "text"
    """column of the parquet files that holds the documents"""
    seq_lens: tuple[int, ...] = (256, 512, 1024, 2048)
    """training row lengths to pack now; others are packed when a run asks for them"""
    tokenizer: str | None = None
    """directory of an existing tokenizer artifact to use instead of training one"""
    workers: int = Field(default=0, ge=0)
    """tokenizing processes; 0 takes every core"""

    @field_validator("corpus")
    @classmethod
    def _known(cls, corpus: str) -> str:
        if not re.fullmatch(r"climbmix|stdlib|parquet:.+", corpus):
            raise ValueError("choose climbmix, stdlib or parquet:DIR")
        return corpus


class PackJob(Contract):
    """Work for the preparation: rows of one length of a dataset that is there."""

    dataset: DatasetRef
    seq_len: int = Field(gt=1)
    split: Literal["train", "validation"] = "train"


class CheckpointPolicy(Contract):
    mode: Literal["sync", "async"] = "sync"
    """async copies the state inside the loop and writes it from a thread"""
    every_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """training seconds between periodic checkpoints; None writes only the final one"""


class IdeaRef(Contract):
    """The idea that a run tests, with what people want to see of it beside the run."""

    id: IdeaId
    parent: IdeaId | None = None
    """what it is compared with; None: it is a start"""
    note: Remark = ""
    """the hypothesis, in one line"""
    diff: str = Field(default="", max_length=20_000)
    """unified, of its recipe against its parent's"""


class Job(Contract):
    """One experiment, complete: the recipe's source lies beside it as recipe.py."""

    run_id: RunId
    engine: Literal["torch", "mlx"]
    device: str = Field(pattern=r"^(cpu|mps|metal|cuda:\d+)$")
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """compute precision; auto takes bf16 where the device computes it natively"""
    compile: Literal["auto", "on", "off", "graphs", "step"] = "auto"
    """graphs: each compiled function is replayed as a CUDA graph; step: the whole step as one (torch on CUDA)"""
    attention: str = Field(default="auto", pattern=r"^[a-z0-9]{1,20}$")
    """backend to try before the others of the device's order; auto keeps the order"""
    kernels: Kernels = Field(default_factory=dict)
    """{op: kernel} to use before promoted ones; "reference" is the recipe's own function"""
    target: str
    hardware_key: str
    preset: str | None = None
    """the preset the shape came from; None when any of its values was changed"""
    shape: Shape
    dataset: DatasetRef
    recipe_sha: Sha256
    seed: int = Field(default=42, ge=0, lt=2**32)
    budget: Budget
    rung: Rung | Literal["auto"] = "auto"
    eval_batch_size: Size | None = None
    """rows of 2048 tokens per evaluation pass; None follows the training batch"""
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    curve_points: int = Field(default=0, ge=0, le=64)
    """weights kept at this many evenly spaced points of the budget, each scored on the cheap rung afterwards"""
    idea: IdeaRef | None = None
    """None: the run belongs to no idea"""
    choices: tuple["Choice", ...] = ()
    """what was chosen for the user before the run started"""

    @property
    def for_recipe(self) -> Self:
        """What a recipe's process is told: no text that anybody wrote, since no source is charged for it."""
        return self.model_copy(update={"idea": None, "choices": ()})


class Choice(Contract):
    """Something chosen automatically, and why."""

    what: Name
    chosen: Remark
    reason: Remark


def not_ours(choice: Choice) -> Choice:
    """ValueError for a choice in a name that a reader takes for ours, also in letters that only look like its own."""
    if choice.what.lower() in OUR_CHOICES or not choice.what.isascii():
        raise ValueError(f"'{choice.what}' is not the recipe's to choose: note it under another name, in ASCII")
    return choice


ReportedChoice = Annotated[Choice, AfterValidator(not_ours)]
"""from a process that runs a recipe"""


class StepRecord(Contract):
    """One line of metrics.jsonl, as the recipe's process reports it. step_ms = input_ms + ... + record_ms."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    step: NumSteps
    progress: float = Field(ge=0, le=1e6, allow_inf_nan=False)
    train_seconds: Seconds
    tokens: NumTokens
    loss: float
    """may be infinite or not a number: then the run has diverged"""
    loss_ema: float
    """exponential mean over 0.9 of the past, debiased"""
    tok_per_sec: TokensPerSecond
    mfu_percent: MfuPercent
    step_ms: Milliseconds
    input_ms: Milliseconds
    """reading rows and starting their copy to the device"""
    dispatch_ms: Milliseconds
    """inside the recipe's step()"""
    wait_ms: Milliseconds
    """waiting for the device to finish"""
    record_ms: Milliseconds
    """telemetry and checkpoints that count as training time"""
    peak_vram_mb: Megabytes
    recipe: dict[Name, float] = Field(default={}, max_length=64)
    """what the recipe says of itself, e.g. lr_multiplier"""


class TrainingRecord(Contract):
    """What the trainer's supervisor saw. Times are its own clock, outside the recipe's process.

    What it did not see itself is named in REPORTED: bounded, one line, and no more than a claim.
    """

    REPORTED: ClassVar = (
        "num_steps", "total_tokens", "epochs", "last_loss", "tok_per_sec", "mfu_percent", "input_percent",
        "peak_vram_mb", "num_params", "attention_backend", "hand_over_seconds",
    )  # fmt: skip
    """fields that only the recipe's process can know"""

    status: Status
    void: VoidCause | None = None
    reason: OneLine = ""
    startup_seconds: Seconds = 0.0
    """imports, build, compilation, warm-up: before the clock"""
    training_seconds: Seconds = 0.0
    hand_over_seconds: Seconds = 0.0
    """copying the final weights to the supervisor, as rehearsed; part of training_seconds"""
    finish_seconds: Seconds = 0.0
    """writing the weights to disk, after the clock and after the recipe's processes were ended"""
    num_steps: NumSteps = 0
    total_tokens: NumTokens = 0
    epochs: float = Field(default=0.0, ge=0, le=1e9, allow_inf_nan=False)
    last_loss: float | None = None
    tok_per_sec: TokensPerSecond | None = None
    mfu_percent: MfuPercent = None
    """None also where what was reported is beyond 1000 %"""
    input_percent: Percent | None = None
    """share of the step time spent waiting for rows"""
    peak_vram_mb: Megabytes | None = None
    num_params: NumParams | None = None
    attention_backend: Name | None = None
    resumed_from_step: NumSteps | None = None
    foreign_cpu: Share | None = None
    stolen_cpu: Share | None = None
    """of the machine's processor time while it trained: used by processes of others, not given by the machine's host"""
    integrity: Integrity | None = None
    """of the training process; None: not recorded"""
    choices: tuple[Choice, ...] = Field(default=(), max_length=100)


class Check(Contract):
    """One integrity check of the evaluator."""

    name: Literal["finite", "causal", "stateless", "weights_unchanged", "compute"]
    passed: bool
    detail: OneLine


class RungChoice(Contract):
    """Which rung was used and what allowed it."""

    rung: Rung
    status: Literal["requested", "measured", "projected", "fallback"]
    confidence: Literal["none", "single", "repeated", "stable"]
    freshness: Literal["fresh", "aging", "stale", "none"]
    reason: str


class CurvePoint(Contract):
    progress: float = Field(ge=0, le=1e6, allow_inf_nan=False)
    train_seconds: Seconds
    step: NumSteps
    val_bpb: BitsPerByte


class Scored(Contract):
    status: Status
    val_bpb: BitsPerByte | None = None

    @model_validator(mode="after")
    def _number_only_when_ok(self) -> Self:
        if (self.val_bpb is not None) != (self.status is Status.OK):
            raise ValueError("val_bpb is given exactly when the status is ok")
        return self


class EvaluationRecord(Scored):
    """What the evaluator measured. A number is here only when every check passed."""

    void: VoidCause | None = None
    reason: OneLine = ""
    val_bpb: BitsPerByte | None = None
    """measured, and what the recipe's source was charged"""
    source_bpb: BitsPerByte = 0.0
    """the charge, for what the source could know of the text"""
    val_bpb_upstream: BitsPerByte | None = None
    """the same nats over upstream's byte counts (issue karpathy/autoresearch#384)"""
    rung: RungChoice | None = None
    num_tokens: NumTokens = 0
    total_nats: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    total_bytes: int = Field(default=0, ge=0)
    eval_seconds: Seconds = 0.0
    """scoring passes alone"""
    load_seconds: tuple[Seconds, ...] = ()
    """start of each recipe process until it serves, and each later load, in order"""
    forward_seconds: tuple[Seconds, ...] = ()
    """all forward passes of each recipe process, in order: scoring, audit"""
    outside_seconds: Seconds = 0.0
    """of these, what took so long that it may have been training outside the budget"""
    total_seconds: Seconds = 0.0
    """with start-up of the evaluator, its children and the audit"""
    eval_batch_size: int | None = None
    eval_signature: str = ""
    framework: Name = ""
    """the engine's, with its version, e.g. torch 2.13.0"""
    peak_vram_mb: Megabytes | None = None
    checks: tuple[Check, ...] = ()
    unfinished_audits: int = Field(default=0, ge=0)
    """how often an audit of this run ended before its verdict; an audit draws new cuts every time"""
    curve: tuple[CurvePoint, ...] = Field(default=(), max_length=64)
    integrity: Integrity | None = None
    """of the weakest of its processes that ran the recipe; None: not recorded"""
    choices: tuple[Choice, ...] = Field(default=(), max_length=200)


class RunResult(Scored):
    """The summary of one experiment: printed at the end, written as result.json, compared in MLflow."""

    REPORTED: ClassVar = (
        "peak_vram_mb", "mfu_percent", "total_tokens_M", "num_steps", "num_params_M", "tok_per_sec",
        "attention_backend",
    )  # fmt: skip
    """fields that are the recipe's process's own claim, as in TrainingRecord; nothing is decided by them"""

    run_id: RunId
    void: VoidCause | None = None
    """set when the attempt says nothing of the recipe"""
    reason: OneLine = ""
    val_bpb_upstream: BitsPerByte | None = None
    training_seconds: Seconds = 0.0
    outside_seconds: Seconds = 0.0
    """of the evaluation, which count as training time; 0 also where an older version did not write them here"""
    total_seconds: Seconds = 0.0
    peak_vram_mb: Megabytes | None = None
    mfu_percent: MfuPercent = None
    total_tokens_M: float = Field(default=0.0, ge=0, le=1e10, allow_inf_nan=False)
    num_steps: NumSteps = 0
    num_params_M: float | None = Field(default=None, ge=0, le=1e8, allow_inf_nan=False)
    depth: int
    tok_per_sec: TokensPerSecond | None = None
    rung: Rung | None = None
    ranked: bool
    """comparable with other runs: true exactly when `unranked` is empty"""
    unranked: tuple[Unranked, ...] = ()
    """every reason why it is not"""
    integrity: Integrity | None = None
    """the weaker of training's and evaluation's; None: one of them did not record it"""
    engine: str
    attention_backend: Name | None = None
    target: str
    hardware_key: str
    dataset: str
    """fingerprint: results of different datasets are never ranked together"""
    recipe_sha: Sha256
    seed: int
    budget: Budget
    shape: Shape | None = None
    """None: recorded by an older version"""
    idea: IdeaId | None = None
    own_terms: bool = False
    """it kept or scored weights along the way otherwise than runs of its budget do unasked: no evidence for an idea"""
    eval_signature: str = ""
    choices: tuple[Choice, ...] = Field(default=(), max_length=400)

    @model_validator(mode="after")
    def _ranked_unless_there_is_a_reason(self) -> Self:
        if self.ranked != (not self.unranked):
            raise ValueError("ranked is true exactly when unranked names no reason")
        evident = evident_reasons(self.status, self.rung, self.budget, self.computed_seconds)
        if missing := set(evident) - set(self.unranked):
            raise ValueError(f"unranked must name {', '.join(sorted(missing))}")
        return self

    @property
    def computed_seconds(self) -> float:
        """What is held against the budget."""
        return self.training_seconds + self.outside_seconds


def evident_reasons(status: Status, rung: Rung | None, budget: Budget, computed_seconds: float) -> tuple[Unranked, ...]:
    """What keeps a result from being ranked, as far as its own fields tell."""
    shown = {
        Unranked.NOT_OK: status is not Status.OK,
        Unranked.SMOKE_RUNG: not rung.is_ranked if rung else status is Status.OK,
        Unranked.TOKEN_BUDGET: budget.tokens is not None,
        Unranked.OVER_BUDGET: status is Status.OK and rung is not Rung.SMOKE and not budget.covers(computed_seconds),
    }
    return tuple(reason for reason, holds in shown.items() if holds)
