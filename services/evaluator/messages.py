"""What the evaluator and a recipe process say to each other, over one socket.

    evaluator                          recipe process
    Serve + tokens fd + logits fd ->   (imports, engine)
                                  <-   Opened     (before the recipe is imported: nobody can have forged it)
                                  ->   (recipe, build, load)
                                  <-   Serving
    Forward                       ->   (tokens in shared memory)
                                  <-   Forwarded  (logits in shared memory)
    Load                          ->   other weights
                                  <-   Loaded
    Digest                        ->
                                  <-   Digested
    at any time                   <-   Failed (shared/sandbox/launch.py)

Targets are never sent: the tokens of a row are all a recipe sees.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.contracts import Contract, Job, Megabytes, Name, ReportedChoice, Sha256
from shared.sandbox import launch

Word = Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,60}$")]


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


class Opened(launch.Opened):
    framework_version: Word
    dtype: Word


class Serving(Contract):
    kind: Literal["serving"] = "serving"
    on_device: bool
    """logits are written into the device buffer"""
    attention_backend: Name | None
    weights_digest: Sha256
    choices: tuple[ReportedChoice, ...] = Field(max_length=64)


class Forward(Contract):
    kind: Literal["forward"] = "forward"


class Forwarded(Contract):
    kind: Literal["forwarded"] = "forwarded"
    peak_vram_mb: Megabytes


class Load(Contract):
    kind: Literal["load"] = "load"
    weights: str


class Loaded(Contract):
    kind: Literal["loaded"] = "loaded"


class Digest(Contract):
    kind: Literal["digest"] = "digest"


class Digested(Contract):
    kind: Literal["digested"] = "digested"
    weights_digest: Sha256


REQUESTS: dict[str, type[Contract]] = {"forward": Forward, "load": Load, "digest": Digest}

ANSWERS: dict[str, type[Contract]] = {
    "serving": Serving,
    "forwarded": Forwarded,
    "loaded": Loaded,
    "digested": Digested,
}
