"""A whole optimizer step (forward, backward, optimizer) as one CUDA graph: the host starts one thing instead of some
hundred kernels.

    run = choose_step(device, compute, live)        # device: an engine's handle
    loss = run(rows)

`compute(rows)` may not wait for the device, and what changes from step to step must lie in tensors that it reads: rows,
learning rates. A graph repeats kernels with the arguments they were recorded with. `live` are the arrays that a step
changes in place. Chosen by trying: the second call records the step, and compares what the recording does with what
launches did. Where it cannot be recorded, or differs, launches go on, and the result's choice `launches` says why.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

Compute = Callable[[Tensor], Tensor]
MOST_APART = 0.05
"""of the length of one update: gradients that are added up in another order differ by rounding"""


class Capture(Protocol):
    """What records launches."""

    def warm(self, call: Callable[[], Tensor]) -> Tensor:
        """Runs it as it will be recorded, once, so that everything that happens only once has happened."""
        ...

    def record(self, call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Runs nothing. What repeats the call, and where its result will lie."""
        ...


class CudaCapture:
    """https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs"""

    def warm(self, call: Callable[[], Tensor]) -> Tensor:
        side, current = torch.cuda.Stream(), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            result = call()
        current.wait_stream(side)
        return result

    def record(self, call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()
        return graph.replay, result


def choose_step(device: Any, compute: Compute, live: Callable[[], list[Tensor]]) -> Compute:
    """`compute` itself, or where the job asks for it (`--set compile=step`) one that is recorded."""
    return WholeStep(compute, live, device.note, CudaCapture()) if device.whole_step else compute


class WholeStep:
    """First call: launched, on a side stream. Second: recorded and compared. From then on: repeated."""

    def __init__(self, compute: Compute, live: Callable[[], list[Tensor]], note: Callable, capture: Capture):
        self.compute, self.live, self.note, self.capture = compute, live, note, capture
        self.rows: Tensor | None = None
        self.replay: Callable[[], None] | None = None
        self.result: Tensor | None = None
        self.launches = False
        """for good: it could not be recorded"""

    def __call__(self, rows: Tensor) -> Tensor:
        if self.launches or (self.rows is not None and rows.shape != self.rows.shape):
            return self.compute(rows)
        if self.rows is None:
            kept = self.rows = rows.clone()
            return self.capture.warm(lambda: self.compute(kept))
        self.rows.copy_(rows)
        if self.replay is None:
            return self._try(self.rows)
        return self._replayed()

    def _replayed(self) -> Tensor:
        assert self.replay is not None
        assert self.result is not None
        self.replay()
        return self.result.clone()  # the next replay overwrites it, and the loop reads a loss one step later

    def _try(self, rows: Tensor) -> Tensor:
        """One step, twice from the same state: by launches, then by the recording. Leaves what the last one made."""
        before = _copies(self.live())
        loss = self.compute(rows)
        launched = _copies(self.live())
        try:
            self.replay, self.result = self.capture.record(lambda: self.compute(rows))
            _put_back(self.live(), before)
            again = self._replayed()
            why = _difference(before, launched, self.live(), loss, again)
        except RuntimeError as error:
            why = f"a step cannot be recorded as a CUDA graph: {_first_line(error)}"
        if not why:
            self.note("launches", "one CUDA graph", "a step repeated as a graph did what its launches do")
            return again
        _put_back(self.live(), launched)
        self.launches, self.replay, self.result = True, None, None
        self.note("launches", "kernel by kernel", why)
        return loss


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def _copies(arrays: list[Tensor]) -> list[Tensor]:
    """In the host's memory: the device may have no room for them."""
    return [x.detach().to("cpu", copy=True) for x in arrays]


@torch.no_grad()
def _put_back(arrays: list[Tensor], values: list[Tensor]) -> None:
    for x, value in zip(arrays, values, strict=True):
        x.copy_(value)


@torch.no_grad()
def _difference(
    before: list[Tensor], launched: list[Tensor], replayed: list[Tensor], loss: Tensor, again: Tensor
) -> str:
    """What is wrong with the repeated step, in words; empty when nothing is."""
    if not torch.allclose(loss.float(), again.float(), rtol=1e-3, atol=1e-5):
        return f"as a CUDA graph its loss was {float(again):g}, launched {float(loss):g}"
    apart = _length(list(zip(replayed, launched, strict=True)))
    update = _length(list(zip(launched, before, strict=True)))
    if not apart <= MOST_APART * update:
        return f"as a CUDA graph its update was {apart:.3g} away from the launched one, whose length is {update:.3g}"
    return ""


def _length(pairs: list[tuple[Tensor, Tensor]]) -> float:
    squares = [(x.cpu().double() - y.double()).square().sum() for x, y in pairs if x.is_floating_point()]
    return float(torch.stack(squares).sum().sqrt())
