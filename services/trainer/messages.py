"""What the trainer's supervisor and the recipe process say to each other, over one socket.

supervisor                 recipe process
Start + metrics fd   ->    (sandbox, imports, build, warm-up)
                     <-    Ready
Rows + rows fd       ->    (the clock runs from here)
                     <-    Checkpointed, any number of times
                     <-    Trained                  (the clock stops here)
                     <-    Finished
at any time          <-    Failed
"""

from typing import Literal

from shared.contracts import Choice, Contract, Job, Status


class Start(Contract):
    kind: Literal["start"] = "start"
    job: Job
    recipe: str
    checkpoint_dir: str
    vocab_size: int
    resume: bool
    peak_flops: float | None
    """of the device, from the targets table; None is measured"""


class Ready(Contract):
    kind: Literal["ready"] = "ready"
    num_params: int
    flops_per_token: float | None
    peak_flops: float
    attention_backend: str | None
    resumed_from_step: int | None
    choices: tuple[Choice, ...]


class Rows(Contract):
    """Comes with an open descriptor of the training rows: the recipe sees no data before the clock runs."""

    kind: Literal["rows"] = "rows"
    num_rows: int
    seq_len: int
    spent_seconds: float
    """training seconds before this start, by the supervisor's clock"""


class Checkpointed(Contract):
    kind: Literal["checkpointed"] = "checkpointed"
    folder: str
    step: int


class Trained(Contract):
    kind: Literal["trained"] = "trained"
    num_steps: int
    total_tokens: int
    train_seconds: float
    """by the recipe process's own clock, to be compared with the supervisor's"""


class Finished(Contract):
    kind: Literal["finished"] = "finished"
    last_loss: float
    input_percent: float
    peak_vram_mb: float


class Failed(Contract):
    kind: Literal["failed"] = "failed"
    status: Literal[Status.INVALID, Status.DIVERGED, Status.OUT_OF_MEMORY, Status.CRASHED]
    reason: str
    disk_full: bool = False
    """no fault of the experiment: with room it can go on"""
