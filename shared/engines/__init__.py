"""The little that differs per framework. One adapter a file; nothing is imported until an engine is opened.

A recipe never sees this interface, only `engine.handle`, the `device` its build() receives. A state is
`{"model": {name: array}, "optimizer": {name: array}}`, arrays of the framework, names free of the group prefix.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from shared.contracts import Choice, Job
from shared.machine.device import Precision

State = Mapping[str, Mapping[str, Any]]

LARGEST_LOGIT = 1e4
"""A logit's magnitude: below it float32 steps are at most 0.001 nats, so differences keep their meaning. Real models
stay under a few hundred; a recipe that masks tokens fills in -1e4, not -inf."""


ATTENTION_BACKENDS = {"torch": ("fa4", "fa2", "flex", "sdpa"), "mlx": ("blocked", "sdpa")}
"""what Job.attention may name; kernels/attention holds one file for each"""


class Engine(Protocol):
    name: Literal["torch", "mlx"]
    version: str
    """of the framework"""
    device: str
    """as in Job.device"""
    precision: Precision
    """of products, as resolved from Job.dtype"""
    handle: Any
    """what a recipe's build() receives as `device`"""
    choices: list[Choice]
    """what was chosen automatically since the engine was opened, in order"""

    def seed(self, seed: int) -> None:
        """Seeds the framework's generators."""

    def from_host(self, tokens: np.ndarray) -> Any:
        """uint16 [..., T] -> integer array of the same shape on the device; the copy may still be under way."""

    def to_host(self, array: Any) -> np.ndarray:
        """A float32 or integer copy in host memory; waits for the device."""

    def copy_into(self, buffer: Any, array: Any) -> None:
        """Copies `array` as float32 into numpy memory or a shared device buffer of its shape; done when it returns."""

    def scalar(self, value: Any) -> float:
        """Waits until `value` is computed and reads it."""

    def synchronize(self) -> None:
        """Waits for all work of the device."""

    def snapshot(self, state: State) -> State:
        """A copy in host memory that later steps do not change."""

    def describe(self, array: Any) -> tuple[str, tuple[int, ...]]:
        """Type, as safetensors names it, and shape. ValueError for a type that cannot be stored."""

    def store(self, target: np.ndarray, array: Any) -> None:
        """Copies `array` bit for bit into `target`, uint8 of its size. The copy may be under way: see `synchronize`."""

    def fetch(self, source: np.ndarray, dtype: str, shape: tuple[int, ...]) -> Any:
        """A copy in host memory of what `store` left in `source`; type and shape as `describe` says them."""

    def pin(self, buffer: np.ndarray) -> None:
        """Lets the device copy straight into `buffer`, where it can; notes why not where it cannot."""

    def load(self, path: Path) -> dict[str, Any]:
        """Reads a safetensors file into host memory. ValueError when it is corrupt."""

    def rng_state(self) -> dict[str, Any]:
        """State of the framework's generators, as arrays that `store` accepts."""

    def set_rng_state(self, state: Mapping[str, Any]) -> None: ...

    def is_out_of_memory(self, error: BaseException) -> bool: ...

    def peak_memory_mb(self) -> float:
        """Most memory held since `reset_peak_memory`: the device's, or the process's on a CPU. MiB."""

    def reset_peak_memory(self) -> None: ...

    def matmul_flops(self) -> float:
        """FLOP/s of a large matrix product in the compute dtype, measured now in under a second."""

    def token_nats(self, logits: Any, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """logits [B, T, V] (array of the framework or numpy), targets [B, T] -> nats of the targets and nats of the
        mode, the most likely token; float32 [B, T] each.

        The maximum is subtracted first, in float32: nats = log(sum(exp(x - max))) - (x_target - max), so that neither
        can be negative and an offset common to all logits hides nothing. NaN where a logit is beyond LARGEST_LOGIT or
        not finite. The logits are copied once before anything is computed: another process may share their memory.
        """


IMPORTED_LATE = {"torch": ("torch._dynamo", "torch.fx.experimental.symbolic_shapes"), "mlx": ()}
"""what a framework imports at the first optimizer and the first gradient (torch: 1 s). Imported with it, these seconds
are ours and not the recipe's"""


def check_attention(engine: str, attention: str) -> None:
    """ValueError names the backends there are."""
    if attention not in ("auto", *ATTENTION_BACKENDS[engine]):
        raise ValueError(f"attention '{attention}': choose auto, {', '.join(ATTENTION_BACKENDS[engine])}")


def last_choice(engine: Engine, what: str) -> str | None:
    """What was chosen last of several automatic choices of a kind; None when nothing was."""
    return next((choice.chosen for choice in reversed(engine.choices) if choice.what == what), None)


def open_engine(
    name: str,
    device: str,
    *,
    dtype: str = "auto",
    compile: str = "auto",
    attention: str = "auto",
    kernels: Mapping[str, str] | None = None,
    hardware_key: str = "",
) -> Engine:
    """Imports the framework and opens the device. ValueError says what is missing and what to install."""
    if name not in ATTENTION_BACKENDS:
        raise ValueError(f"unknown engine '{name}': choose torch or mlx")
    check_attention(name, attention)
    try:
        module = import_module(f"shared.engines.{name}_engine")
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != name:
            raise
        raise ValueError(f"engine {name} is not installed here: pip install -e '.[{name}]'") from None
    return module.open_device(
        device, dtype=dtype, compile=compile, attention=attention, kernels=kernels, hardware_key=hardware_key
    )


def open_engine_of(job: Job, *, compile: str | None = None) -> Engine:
    """The engine as a job asks for it, for a recipe; `compile` replaces what the job says."""
    engine = open_engine(
        job.engine,
        job.device,
        dtype=job.dtype,
        compile=compile or job.compile,
        attention=job.attention,
        kernels=job.kernels,
        hardware_key=job.hardware_key,
    )
    for module in IMPORTED_LATE[job.engine]:
        import_module(module)
    return engine
