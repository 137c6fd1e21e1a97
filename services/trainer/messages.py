"""What the trainer's supervisor and the recipe process say to each other, over one socket.

supervisor                 recipe process
Start                ->    (imports, engine)
                     <-    Opened                   (before the recipe is imported: nobody can have forged it)
                     ->    (build)
                     <-    Built                    (names, types and shapes of the state, fixed from here on)
Buffer + its fd      ->    (compilation, warm-up, rehearsal of the hand-over)
                     <-    Ready
Rows + rows fd       ->    (the clock runs from here; on a resume the files of the checkpoint come along)
                     <-    Steps, Saved, Kept, any number of times
Stored               ->    (after each Saved and Kept: the buffer is free again)
                     <-    Trained                  (the weights are in the buffer; the clock stops, all is killed)
at any time          <-    Failed (shared/sandbox/launch.py)

Everything that comes from the recipe process may be forged. It is bounded here, and what it says of the run is
recorded as reported, never as measured.
"""

from typing import Annotated, Literal

from pydantic import Field

from shared.contracts import Contract, Job, Megabytes, Name, NumSteps, Percent, ReportedChoice, Seconds, Share
from shared.runs.checkpoint import CheckpointRecord
from shared.runs.layout import ArraySpec


class Start(Contract):
    kind: Literal["start"] = "start"
    job: Job
    recipe: str
    vocab_size: int
    resume: CheckpointRecord | None
    peak_flops: float | None
    """of the device, from the targets table; None where none is published: then there is no MFU"""


class Built(Contract):
    kind: Literal["built"] = "built"
    model: tuple[ArraySpec, ...]
    optimizer: tuple[ArraySpec, ...]
    rng: tuple[ArraySpec, ...]


class Buffer(Contract):
    """Comes with the descriptor of the memory that the state is handed over in, laid out by shared/runs/layout.py."""

    kind: Literal["buffer"] = "buffer"


class Ready(Contract):
    kind: Literal["ready"] = "ready"
    flops_per_token: Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False)] | None
    attention_backend: Name | None
    hand_over_seconds: Seconds
    choices: tuple[ReportedChoice, ...] = Field(max_length=64)


class Rows(Contract):
    """Comes with an open descriptor of the training rows: the recipe sees no data before the clock runs.

    On a resume also with those of the checkpoint's files, in the order of GROUPS: a state may hold training rows.
    """

    kind: Literal["rows"] = "rows"
    num_rows: int
    seq_len: int
    spent_seconds: float
    """training seconds before this start, by the supervisor's clock"""


class Steps(Contract):
    """Telemetry: StepRecords as JSON lines, in order and without a gap."""

    kind: Literal["steps"] = "steps"
    lines: tuple[Annotated[str, Field(max_length=10_000)], ...]


class Saved(Contract):
    """The whole state is in the buffer."""

    kind: Literal["saved"] = "saved"
    step: NumSteps
    loss_ema: float


class Kept(Contract):
    """The weights are in the buffer, for a point of the validation curve."""

    kind: Literal["kept"] = "kept"
    step: NumSteps
    progress: Share


class Stored(Contract):
    """What the last Saved or Kept announced is on disk."""

    kind: Literal["stored"] = "stored"


class Trained(Contract):
    """The final weights are in the buffer."""

    kind: Literal["trained"] = "trained"
    num_steps: NumSteps
    train_seconds: Seconds
    """by the recipe process's own clock, to be compared with the supervisor's"""
    last_loss: float
    input_percent: Percent
    peak_vram_mb: Megabytes


ANSWERS: dict[str, type[Contract]] = {
    "built": Built, "ready": Ready, "steps": Steps, "saved": Saved, "kept": Kept, "trained": Trained,
}  # fmt: skip
