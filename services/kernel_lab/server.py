"""What the candidate's process does for the lab: inputs in, results out. See candidate_process.py.

The candidate shares this process and may change any of it. So nothing here decides in its favour: results are compared,
and time is taken, on the other side; what is checked here only says more clearly why something failed.
"""

import importlib.util
import resource
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from kernels.records import Status
from services.kernel_lab.messages import (
    REQUESTS,
    Batch,
    Fill,
    Filled,
    Finished,
    Loaded,
    Opened,
    Ran,
    Refused,
    Run,
    Serve,
    Show,
    Shown,
)
from services.kernel_lab.placement import Placed, spread, view
from services.kernel_lab.refusal import Refusal, describe, is_memory, refusal
from shared.engines.shared_buffer import HostBuffer


class Server:
    def __init__(self, request: dict, inputs_fd: int, results_fd: int):
        self.request = Serve.model_validate(request)
        self.inputs = HostBuffer(inputs_fd, self.request.inputs_bytes).mapped()
        self.results = HostBuffer(results_fd, self.request.results_bytes).mapped()
        self.store: Any = None
        """where results go"""
        self.caller: Any = None
        self.slots: dict[int, Any] = {}
        self.places: dict[int, tuple[Placed, ...]] = {}
        """where the results of each go"""
        self.outcomes: dict[int, dict[str, Any]] = {}

    def open(self) -> Opened:
        """Nothing of the candidate runs in here."""
        if self.request.framework == "mlx":
            from services.kernel_lab.mlx_caller import MlxCaller

            self.caller = MlxCaller(self.request)
        else:
            from services.kernel_lab.caller import TorchCaller

            self.caller = TorchCaller(self.request)
        self.store = self.caller.open_store(self.request.ticket, self.results)
        _limit_memory(self.request)
        return Opened(framework_version=self.caller.version)

    def load(self) -> Loaded:
        try:
            module = _import(Path(self.request.path))
        except Exception as error:
            if is_memory(error):
                raise
            traceback.print_exc()
            raise Refusal(Status.COMPILE_ERROR, f"it does not import: {describe(error)}") from error
        function = getattr(module, self.request.function, None)
        if not callable(function):
            raise Refusal(Status.COMPILE_ERROR, f"it defines no function {self.request.function}")
        self.caller.take(function)
        return Loaded()

    def answer(self, request: dict) -> Ran | Filled | Finished | Shown:
        message = REQUESTS[request["kind"]].model_validate(request)
        if isinstance(message, Run):
            self._run(message)
            return Ran()
        if isinstance(message, Fill):
            self._fill(message)
            return Filled()
        if isinstance(message, Show):
            self.caller.lay_back(self.slots[message.slot], message.inputs, self.inputs)
            return Shown()
        assert isinstance(message, Batch)
        self._batch(message)
        return Finished()

    def failure(self, error: BaseException) -> Refused:
        return refusal(error)

    def _run(self, order: Run) -> None:
        call = self.caller.prepare(order, self.inputs, copied=False)
        self.caller.poison(order.results)
        is_alone = order.between == "nothing"
        outcome = self.caller.call(call) if is_alone else self.caller.call_around_another(call, order)
        self.caller.hand_over(outcome, order.results, self.store)
        self.caller.finish()
        self.caller.return_inputs(call, order, self.inputs)

    def _fill(self, message: Fill) -> None:
        self.places[message.slot] = message.order.results
        if message.slot in self.slots:
            self.caller.refill(self.slots[message.slot], message.order, self.inputs)
        else:
            self.slots[message.slot] = self.caller.prepare(message.order, self.inputs, copied=True)

    def _batch(self, batch: Batch) -> None:
        touch, call, hand_over, outcomes = self.caller.touch, self.caller.call, self.caller.hand_over, self.outcomes
        staged = self.caller.stage(batch.touches, self.inputs)
        links = [None, *batch.links[1:]] if batch.links else [None] * len(batch.slots)
        before: tuple[Placed, ...] = ()
        for slot, place, start, numbers, link in zip(
            batch.slots, batch.touches, batch.starts, staged, links, strict=True
        ):
            results = None if link is None else self._linked(batch, before, link, len(numbers))
            touch(self.slots[slot], place.name, start, batch.step, numbers, results)
            if batch.calls:
                outcomes[slot] = call(self.slots[slot])
            hand_over(outcomes[slot], self.places[slot], self.store)
            before = self.places[slot]
        self.caller.finish()

    def _linked(self, batch: Batch, before: tuple[Placed, ...], link: int, count: int) -> Any:
        """What the call before handed over, at the places that are mixed into the next touch."""
        line = view(self.store, before[batch.linked]).view(-1)
        return spread(line, link, batch.link_step, min(count, len(line)))


def _import(path: Path) -> ModuleType:
    """As module `candidate`, known by that name: Triton and dataclasses look it up."""
    spec = importlib.util.spec_from_file_location("candidate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["candidate"] = module
    spec.loader.exec_module(module)
    return module


def _limit_memory(request: Serve) -> None:
    """Where the device is the CPU: address space beyond what the framework has now. It cannot be raised again."""
    if request.device != "cpu" or sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + request.memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
