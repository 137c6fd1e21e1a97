"""The lab's view of a candidate: a sandboxed process that is given inputs and gives results. What it does wrong is a
Failure, whatever the process does or says.
"""

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kernels.records import Definition, Framework, Status
from services.kernel_lab.messages import ANSWERS, Between, Loaded, Opened, Ran, Refused, Run, Serve
from services.kernel_lab.placement import ALIGNMENT, Layout, Placed, spread, view, write
from services.kernel_lab.watch import Watch
from shared import contracts
from shared.contracts import Choice, Contract, one_line
from shared.engines.shared_buffer import DeviceBuffer, HostBuffer
from shared.kernel_lab.folder import ledger_file
from shared.machine.device import Device
from shared.sandbox.launch import Ended, RecipeProcess, new_scratch

OPEN_LIMIT_S = 120.0
"""for the framework, before anything of the candidate runs"""
SHIFTS = 64
"""places at which inputs may begin"""
POISON = 0xFF
"""every float of it is NaN, every integer -1"""


class Failure(Exception):
    """The candidate is not to be used: status and reason are the verdict."""

    def __init__(self, status: Status, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, one_line(reason, 500)


@dataclass(frozen=True)
class Limits:
    answer_s: float
    memory_mb: int


@dataclass(frozen=True)
class Sizes:
    """Bytes of the two shared buffers."""

    inputs: int
    results: int


class CandidateProcess:
    """One sandboxed process with one candidate in it. As a context manager it leaves nothing behind."""

    def __init__(
        self, path: Path, function: str, definition: Definition, *, device: str, work: Path, limits: Limits,
        sizes: Sizes, framework: Framework = "torch", compiled: bool = False,
        interpreted: bool = False, on_device: bool = False,
    ):  # fmt: skip
        self.limits, self.definition, self.device = limits, definition, device
        self.inputs = HostBuffer.create(sizes.inputs + SHIFTS * ALIGNMENT)
        self.results = HostBuffer.create(sizes.results)
        self.inputs_memory, self.results_memory = self.inputs.mapped(), self.results.mapped()
        self.on_device = share_results(device, sizes.results) if on_device else None
        """memory of the device that the candidate's process writes its results to; None: the host's"""
        self.watch: Watch | None = None
        self.request = Serve(
            path=str(path),
            function=function,
            definition=definition,
            framework=framework,
            device=device,
            memory_bytes=limits.memory_mb << 20,
            compiled=compiled,
            inputs_bytes=self.inputs.num_bytes,
            results_bytes=self.results.num_bytes,
            ticket=self.on_device.ticket if self.on_device else None,
        )
        self.process = RecipeProcess(
            "services.kernel_lab.candidate_process",
            new_scratch(work),
            answers=ANSWERS,
            readable=(path,),
            secret=(ledger_file(),),
            environment={"TRITON_INTERPRET": "1"} if interpreted else {},
        )

    def __enter__(self) -> "CandidateProcess":
        with failing():
            self.process.__enter__()
        try:
            self.watch = Watch(self.pid, self.process.scratch)
            with self._failing():
                self.process.send(self.request, self.inputs.descriptor, self.results.descriptor)
                self._checked(Opened, self.process.await_opened(Opened, OPEN_LIMIT_S, late(OPEN_LIMIT_S)))
                self._expect(Loaded, self.limits.answer_s)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.watch is not None:
            self.watch.close()
        self.process.end()
        self.inputs.close()
        self.results.close()
        if self.on_device is not None:
            self.on_device.close()

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            with failing():
                yield
        except Failure:
            if self.watch is not None and self.watch.reason:
                raise Failure(Status.RUNTIME_ERROR, self.watch.reason) from None
            raise

    @property
    def pid(self) -> int:
        """Of it, or of what started it in its namespace."""
        return self.process.child.pid

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What fences it."""
        return self.process.choices

    def run(
        self,
        inputs: Mapping[str, torch.Tensor | int | float],
        cotangents: Mapping[str, torch.Tensor],
        results: Mapping[str, torch.Tensor],
        shift: int,
        between: Between = "nothing",
    ) -> dict[str, torch.Tensor]:
        """Copies of what one call made of the inputs, laid `shift` places into the buffer. results: what is expected,
        by which only shapes, dtypes and strides are told. Failure also when an input was changed."""
        order = self.lay_out(inputs, cotangents, results, shift).model_copy(update={"between": between})
        before = self.inputs_memory.copy()
        self.poison()
        self.ask(order, Ran)
        if not np.array_equal(self.inputs_memory, before):
            raise Failure(Status.REWARD_HACK, "it changed its inputs, which the next op reads too")
        return self.read(order.results)

    def lay_out(
        self,
        inputs: Mapping[str, torch.Tensor | int | float],
        cotangents: Mapping[str, torch.Tensor],
        results: Mapping[str, torch.Tensor],
        shift: int,
        results_start: int = 0,
    ) -> Run:
        """Writes the inputs into the buffer, and says where they are and where results go."""
        tensors = {name: x for name, x in inputs.items() if isinstance(x, torch.Tensor)}
        both = {**tensors, **{f"cotangent {name}": dy for name, dy in cotangents.items()}}
        layout = Layout.of(both)
        placed = layout.place(shift * ALIGNMENT)
        write(self.inputs_memory, placed, list(both.values()))
        return Run(
            inputs=placed[: len(tensors)],
            scalars={name: x for name, x in inputs.items() if not isinstance(x, torch.Tensor)},
            cotangents=placed[len(tensors) :],
            results=_expected(results, results_start, strict=not layout.transposed),
        )

    def poison(self) -> None:
        """What is not written shows."""
        if self.on_device is not None:
            self.on_device.array.view(torch.uint8).fill_(POISON)
        else:
            self.results_memory[:] = POISON

    def read(self, places: tuple[Placed, ...]) -> dict[str, torch.Tensor]:
        """Copies, which the other process cannot change any more."""
        return {place.name: self._copy(place) for place in places}

    def part(self, place: Placed, start: int, step: int, count: int) -> torch.Tensor:
        """A copy of some of its numbers, or of as many as there are."""
        line = view(self._results_now(), place).view(-1)
        return spread(line, start, step, min(count, len(line))).cpu().clone()

    def glance(self, at: np.ndarray) -> np.ndarray:
        """A copy of these bytes of the results."""
        memory = self._results_now()
        return memory[at] if isinstance(memory, np.ndarray) else memory[torch.from_numpy(at)].cpu().numpy()

    def _results_now(self) -> np.ndarray | torch.Tensor:
        return self.results_memory if self.on_device is None else self.on_device.array.view(torch.uint8)

    def _copy(self, place: Placed) -> torch.Tensor:
        if self.on_device is not None:
            return view(self.on_device.array.view(torch.uint8), place).cpu()
        memory = bytearray(place.num_bytes)
        self.results.read_into(memoryview(memory), place.offset)
        return view(np.frombuffer(memory, np.uint8), place.model_copy(update={"offset": 0}))

    def ask(self, request: Contract, answer: type[Contract], limit_s: float | None = None) -> Any:
        with self._failing():
            self.process.send(request)
            return self._expect(answer, limit_s or self.limits.answer_s)

    def _expect(self, answer: type[Contract], limit_s: float) -> Any:
        return self._checked(answer, self.process.receive(limit_s, late(limit_s)))

    @staticmethod
    def _checked(answer: type[Contract], message: Any) -> Any:
        if isinstance(message, Refused):
            raise Failure(Status(message.status), message.reason)
        if not isinstance(message, answer):
            raise Failure(Status.REWARD_HACK, f"its process answered out of turn ({type(message).__name__})")
        return message


def late(limit_s: float) -> str:
    return f"had not answered after {limit_s:g} s"


@contextmanager
def failing() -> Iterator[None]:
    """Turns the end of the process into the verdict on the candidate."""
    try:
        yield
    except Ended as ended:
        reason = ended.reason.replace("the recipe's process", "its process")
        raise Failure(_VERDICTS.get(ended.status, Status.RUNTIME_ERROR), reason) from ended


_VERDICTS = {
    contracts.Status.TIMED_OUT: Status.TIMEOUT,
    contracts.Status.REJECTED: Status.REWARD_HACK,
}


def share_results(device: str, num_bytes: int) -> DeviceBuffer | None:
    if not Device.parse(device).is_cuda:
        return None
    from shared.engines import cuda_ipc

    return cuda_ipc.share_on_device(device, (-(-num_bytes // 4),))[0]


def _expected(results: Mapping[str, torch.Tensor], start: int, *, strict: bool) -> tuple[Placed, ...]:
    """strict: outputs must have the strides of the reference's. They may follow those of views that came in."""
    places = Layout.of({name: x.contiguous() for name, x in results.items()}).place(start)
    return tuple(
        place.model_copy(update={"strides": tuple(results[place.name].stride())})
        if strict and place.name.startswith("output")
        else place
        for place in places
    )


def secret_shift() -> int:
    return secrets.randbelow(SHIFTS)


def secret_random() -> np.random.Generator:
    """From the operating system, different every time: nobody can have prepared for it."""
    return np.random.default_rng(secrets.randbits(128))
