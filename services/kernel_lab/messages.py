"""What the lab and the process of a candidate say to each other, over one socket, with two shared buffers.

    lab                                 candidate's process
    Serve + inputs fd + results fd ->   (framework)
                                   <-   Opened      (before the candidate is imported: nobody can have forged it)
                                   ->   (imports the candidate)
                                   <-   Loaded
    Run (inputs in the buffer)     ->
                                   <-   Ran         (results in the other)
    Fill, then Batch, then Show    ->   for bench: see timing.py
                                   <-   Filled, Finished, Shown
    at any time                    <-   Refused

What is right is never sent: a candidate sees inputs, and what its own function made of them.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, field_validator

from kernels.records import Definition, Framework, Status
from services.kernel_lab.placement import Placed
from shared.contracts import Contract, Remark
from shared.sandbox import launch

Between = Literal["nothing", "a forward", "a whole call"]
Word = Annotated[str, StringConstraints(pattern=r"^[\w.+-]{1,60}$")]


class Serve(Contract):
    kind: Literal["serve"] = "serve"
    path: str
    function: str
    definition: Definition
    framework: Framework
    device: str
    memory_bytes: int
    compiled: bool
    """the function is wrapped in torch.compile"""
    inputs_bytes: int
    results_bytes: int
    ticket: dict[str, Any] | None = None
    """of memory on the device for the results; None when the host's is used"""


class Opened(launch.Opened):
    framework_version: Word


class Loaded(Contract):
    kind: Literal["loaded"] = "loaded"


class Run(Contract):
    """One call, forward and backward."""

    kind: Literal["run"] = "run"
    inputs: tuple[Placed, ...]
    scalars: dict[str, int | float]
    cotangents: tuple[Placed, ...]
    results: tuple[Placed, ...]
    between: Between = "nothing"
    """what is done between forward and backward: a call with other numbers, as of a model's next layer. Its backward is
    made, too, or never"""


class Ran(Contract):
    kind: Literal["ran"] = "ran"


class Fill(Contract):
    """Makes input set `slot` of a benchmark from what lies in the buffer; one that is there keeps its addresses."""

    kind: Literal["fill"] = "fill"
    slot: int = Field(ge=0)
    order: Run


class Filled(Contract):
    kind: Literal["filled"] = "filled"


class Batch(Contract):
    """One call on each of these slots. Just before it, fresh numbers replace some of one input; right after it, its
    results are handed over: what is not there when the batch is over was not computed. Into the fresh numbers bits of
    what the call before handed over are mixed (placement.py), so that calls cannot be made all at once."""

    kind: Literal["batch"] = "batch"
    slots: tuple[int, ...]
    touches: tuple[Placed, ...]
    """one for each call, under the name of the input: nobody can have computed ahead"""
    starts: tuple[int, ...]
    """where in the input each begins"""
    step: int = Field(default=1, ge=1)
    """from one number of a touch to the next"""
    linked: int = Field(default=0, ge=0)
    """which result of the call before is mixed in"""
    links: tuple[int, ...] = ()
    """where in it the numbers begin that are mixed in; none: nothing is touched"""
    link_step: int = Field(default=1, ge=1)
    calls: bool = True
    """false: only touches, and handing over what there is, to know what that costs"""


class Finished(Contract):
    kind: Literal["finished"] = "finished"


class Show(Contract):
    """Lays the inputs of a slot, as they are now, into the buffer that inputs come from: were they changed?"""

    kind: Literal["show"] = "show"
    slot: int = Field(ge=0)
    inputs: tuple[Placed, ...]


class Shown(Contract):
    kind: Literal["shown"] = "shown"


class Refused(Contract):
    """The candidate failed, as its own process saw it. Claims to have failed are believed."""

    kind: Literal["refused"] = "refused"
    status: Status
    reason: Remark

    @field_validator("status")
    @classmethod
    def _a_failure(cls, status: Status) -> Status:
        if status is Status.PASSED:
            raise ValueError("a candidate does not judge itself")
        return status


REQUESTS: dict[str, type[Contract]] = {"run": Run, "fill": Fill, "batch": Batch, "show": Show}
ANSWERS: dict[str, type[Contract]] = {
    "loaded": Loaded,
    "ran": Ran,
    "filled": Filled,
    "finished": Finished,
    "shown": Shown,
    "refused": Refused,
}
