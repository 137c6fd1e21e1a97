"""What crosses a process: frozen pydantic models that forbid extra fields.

A job goes in, records come out, one per stage, and `RunResult` is the summary people compare. Nothing
here imports a framework, Redis or MLflow. Which file of a run directory holds which model:
shared/runs/directory.py.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator


def one_line(text: str) -> str:
    """Printable characters, single spaces, at most 1000 of them."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:1000]


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
OneLine = Annotated[str, AfterValidator(one_line)]
"""what a recipe may have had a hand in: no line ends, no control characters, not too long"""
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")]


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Status(StrEnum):
    """How a stage or an experiment ended. Every end is one of these."""

    OK = "ok"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    INVALID = "invalid"


class Rung(StrEnum):
    """Evaluation fidelity; sizes and rules in shared/evaluation/rungs.py."""

    SMOKE = "smoke"
    CHEAP = "cheap"
    REFERENCE = "reference"
    FULL = "full"


class Shape(Contract):
    """Size of the model and of its batches."""

    seq_len: int = Field(gt=1)
    """tokens of context in one training row"""
    depth: int = Field(gt=0)
    """transformer layers"""
    d_model: int = Field(gt=0)
    heads: int = Field(gt=0)
    device_batch_size: int = Field(gt=0)
    """rows in one forward/backward pass"""
    total_batch_size: int = Field(gt=0)
    """tokens in one optimizer step"""
    window_pattern: str = Field(pattern=r"^[SL]+$")
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

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if self.tokens is None else f"{self.tokens:,} tokens"


class DatasetRef(Contract):
    """Names a prepared dataset. The fingerprint must match what is found under that name."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")
    fingerprint: Sha256


class PrepareJob(Contract):
    """Work for services.prepare: make a dataset, or add rows of other lengths to one that is there."""

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
    """Work for services.prepare: rows of one length of a dataset that is there."""

    dataset: DatasetRef
    seq_len: int = Field(gt=1)
    split: Literal["train", "validation"] = "train"


class CheckpointPolicy(Contract):
    mode: Literal["sync", "async"] = "sync"
    """async copies the state inside the loop and writes it from a thread"""
    every_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """training seconds between periodic checkpoints; None writes only the final one"""


class Job(Contract):
    """One experiment, complete: the recipe's source lies beside it as recipe.py."""

    run_id: RunId
    engine: Literal["torch", "mlx"]
    device: str = Field(pattern=r"^(cpu|mps|metal|cuda:\d+)$")
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """compute precision; auto takes bf16 where the device computes it natively"""
    compile: Literal["auto", "on", "off"] = "auto"
    target: str
    hardware_key: str
    preset: str | None = None
    """the preset the shape came from; None when any of its values was changed"""
    shape: Shape
    dataset: DatasetRef
    recipe_sha: Sha256
    seed: int = Field(default=42, ge=0, lt=2**32)
    budget: Budget
    rung: Literal["auto", "smoke", "cheap", "reference", "full"] = "auto"
    eval_batch_size: int | None = Field(default=None, gt=0)
    """rows of 2048 tokens per evaluation pass; None follows the training batch"""
    checkpoints: CheckpointPolicy = CheckpointPolicy()
    curve_points: int = Field(default=0, ge=0, le=64)
    """weights kept at this many evenly spaced points of the budget, each scored on the cheap rung afterwards"""
    choices: tuple["Choice", ...] = ()
    """what was chosen for the user before the run started"""


class Choice(Contract):
    """Something chosen automatically, and why."""

    what: str
    chosen: str
    reason: str


class StepRecord(Contract):
    """One line of metrics.jsonl. step_ms = input_ms + dispatch_ms + wait_ms + record_ms."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    step: int
    progress: float
    train_seconds: float
    tokens: int
    loss: float
    loss_ema: float
    """exponential mean over 0.9 of the past, debiased"""
    tok_per_sec: float
    mfu_percent: float | None
    step_ms: float
    input_ms: float
    """reading rows and starting their copy to the device"""
    dispatch_ms: float
    """inside the recipe's step()"""
    wait_ms: float
    """waiting for the device to finish"""
    record_ms: float
    """telemetry and checkpoints that count as training time"""
    peak_vram_mb: float
    recipe: dict[str, float] = {}
    """what the recipe reports of itself, e.g. lr_multiplier"""


class TrainingRecord(Contract):
    """What the trainer's supervisor saw. Times are its own clock, outside the recipe's process."""

    status: Status
    reason: OneLine = ""
    startup_seconds: float = 0.0
    """imports, build, compilation, warm-up: before the clock"""
    training_seconds: float = 0.0
    finish_seconds: float = 0.0
    """final checkpoint, after the clock"""
    num_steps: int = 0
    total_tokens: int = 0
    epochs: float = 0.0
    last_loss: float | None = None
    tok_per_sec: float | None = None
    mfu_percent: float | None = None
    input_percent: float | None = None
    """share of the step time spent waiting for rows"""
    peak_vram_mb: float | None = None
    num_params: int | None = None
    attention_backend: str | None = None
    resumed_from_step: int | None = None
    choices: tuple[Choice, ...] = ()


class Check(Contract):
    """One integrity check of the evaluator."""

    name: Literal["finite", "causal", "stateless", "weights_unchanged", "compute"]
    passed: bool
    detail: str


class RungChoice(Contract):
    """Which rung was used and what allowed it."""

    rung: Rung
    status: Literal["requested", "measured", "projected", "fallback"]
    confidence: Literal["none", "single", "repeated", "stable"]
    freshness: Literal["fresh", "aging", "stale", "none"]
    reason: str


class CurvePoint(Contract):
    progress: float
    train_seconds: float
    step: int
    val_bpb: float


class EvaluationRecord(Contract):
    """What the evaluator measured. A number is here only when every check passed."""

    status: Status
    reason: OneLine = ""
    val_bpb: float | None = None
    val_bpb_upstream: float | None = None
    """the same nats over upstream's byte counts (issue karpathy/autoresearch#384)"""
    rung: RungChoice | None = None
    num_tokens: int = 0
    total_nats: float = 0.0
    total_bytes: int = 0
    eval_seconds: float = 0.0
    """scoring passes alone"""
    load_seconds: tuple[float, ...] = ()
    """start of each recipe process until it serves, and each later load, in order"""
    forward_seconds: tuple[float, ...] = ()
    """all forward passes of each recipe process, in order: scoring, audit"""
    total_seconds: float = 0.0
    """with start-up of the evaluator, its children and the audit"""
    eval_batch_size: int | None = None
    eval_signature: str = ""
    peak_vram_mb: float | None = None
    checks: tuple[Check, ...] = ()
    curve: tuple[CurvePoint, ...] = ()
    choices: tuple[Choice, ...] = ()

    @model_validator(mode="after")
    def _number_only_when_ok(self) -> Self:
        if (self.val_bpb is not None) != (self.status is Status.OK):
            raise ValueError("val_bpb is given exactly when the status is ok")
        return self


class RunResult(Contract):
    """The summary of one experiment: printed at the end, written as result.json, compared in MLflow."""

    run_id: RunId
    status: Status
    reason: OneLine = ""
    val_bpb: float | None = None
    val_bpb_upstream: float | None = None
    training_seconds: float = 0.0
    total_seconds: float = 0.0
    peak_vram_mb: float | None = None
    mfu_percent: float | None = None
    total_tokens_M: float = 0.0
    num_steps: int = 0
    num_params_M: float | None = None
    depth: int
    tok_per_sec: float | None = None
    rung: Rung | None = None
    ranked: bool = False
    """comparable with other runs: ok, and not scored on the smoke rung"""
    engine: str
    attention_backend: str | None = None
    target: str
    hardware_key: str
    dataset: str
    """fingerprint: results of different datasets are never ranked together"""
    recipe_sha: Sha256
    seed: int
    budget: Budget
    eval_signature: str = ""
    choices: tuple[Choice, ...] = ()
