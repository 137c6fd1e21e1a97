"""What the evaluator and a recipe process say to each other, over one socket.

    evaluator                          recipe process
    Serve + tokens fd + logits fd ->   (sandbox, imports, build, load)
                                  <-   Serving
    Forward                       ->   (tokens in shared memory)
                                  <-   Forwarded  (logits in shared memory)
    Load                          ->   other weights
                                  <-   Loaded
    Digest                        ->
                                  <-   Digested
    at any time                   <-   Failed

Targets are never sent: the tokens of a row are all a recipe sees.
"""

from typing import Any, Literal

from shared.contracts import Choice, Contract, Job, Status


class Serve(Contract):
    kind: Literal["serve"] = "serve"
    job: Job
    recipe: str
    weights: str
    vocab_size: int
    batch_size: int
    seq_len: int
    ticket: dict[str, Any] | None
    """of a device buffer for the logits; None when the host's memory is used"""


class Serving(Contract):
    kind: Literal["serving"] = "serving"
    on_device: bool
    """logits are written into the device buffer"""
    framework_version: str
    dtype: str
    attention_backend: str | None
    weights_digest: str
    choices: tuple[Choice, ...]


class Forward(Contract):
    kind: Literal["forward"] = "forward"


class Forwarded(Contract):
    kind: Literal["forwarded"] = "forwarded"
    peak_vram_mb: float


class Load(Contract):
    kind: Literal["load"] = "load"
    weights: str


class Loaded(Contract):
    kind: Literal["loaded"] = "loaded"


class Digest(Contract):
    kind: Literal["digest"] = "digest"


class Digested(Contract):
    kind: Literal["digested"] = "digested"
    weights_digest: str


class Failed(Contract):
    kind: Literal["failed"] = "failed"
    status: Literal[Status.REJECTED, Status.OUT_OF_MEMORY, Status.CRASHED]
    reason: str
