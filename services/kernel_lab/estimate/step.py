"""One optimizer step of a recipe, counted: everything between two calls of `step`, on tensors without values.

The first step compiles and makes what is made once; the second is counted. Runs the recipe, so only the sandboxed
process calls it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from kernels.cross_entropy_full import torch_chunked
from kernels.launch_fusion import whole_step
from kernels.op_cost import stored_bytes
from services.kernel_lab.estimate.compile_matrix import compile_all
from services.kernel_lab.estimate.compiler import AbsentCompiler
from services.kernel_lab.estimate.messages import Count
from services.kernel_lab.estimate.recorder import Recorder
from shared.contracts import Choice
from shared.engines.torch_engine import TorchDevice
from shared.experiment.recipe import blaming, check_protocol, load_recipe
from shared.kernel_lab.estimate import Phase, StepCount
from shared.machine.gpus import Gpu, find_gpu

PROGRESS = 0.25
"""of the budget: before the learning rate falls"""


def count_step(request: Count) -> StepCount:
    """InvalidRecipe, in one line, when the recipe cannot be run without values."""
    gpu = find_gpu(request.target)
    recorder = Recorder()
    compiler = AbsentCompiler(gpu, recorder, graphs=request.compile == "graphs")
    choices: list[Choice] = []
    _chunks_as_on_cuda()
    with (
        patch.object(torch, "compile", compiler.compile),
        patch.object(torch.nn.Module, "_apply", converted),
        patch.object(whole_step, "choose_step", recorder.choose_step),
        FakeTensorMode(allow_non_fake_inputs=True),
    ):
        module = load_recipe(Path(request.recipe))
        with blaming("failed in build()"):
            recipe = module.build(request.shape, request.vocab_size, 42, absent_device(gpu, request, choices))
        check_protocol(recipe)
        rows = torch.zeros((request.shape.rows_per_step, request.shape.seq_len + 1), dtype=torch.int64)
        with blaming("cannot be estimated: its step() failed on tensors without values"):
            recipe.step(rows, PROGRESS)
            with recorder:
                recipe.step(rows, PROGRESS)
            state = recipe.state()
    return _counted(recorder, compiler, state, request, choices)


def absent_device(gpu: Gpu, request: Count, choices: list[Choice]) -> TorchDevice:
    """As the torch engine would hand it out on that GPU; its tensors are the CPU's (see gpu_graph.py)."""
    return TorchDevice(
        torch=torch.device("cpu"),
        dtype=torch.bfloat16,
        arch=gpu.architecture,
        compiles=True,
        choices=choices,
        graphs=request.compile == "graphs",
        whole_step=request.compile == "step",
        kernels=request.kernels,
        hardware_key=gpu.hardware_key,
        absent=True,
    )


def converted(module: torch.nn.Module, fn: Callable, recurse: bool = True) -> torch.nn.Module:
    """What `module.to(...)` does: PyTorch's own swaps parameters in place, which tensors without values refuse."""
    for child in module.children() if recurse else ():
        child._apply(fn)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            with torch.no_grad():
                module._parameters[name] = torch.nn.Parameter(fn(parameter), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = fn(buffer) if buffer is not None else None
    return module


def _chunks_as_on_cuda() -> None:
    """The loss cuts its work by the type of its tensors' device."""
    for table in (torch_chunked.CHUNK_ELEMENTS, torch_chunked.PIECE_ELEMENTS):
        table["cpu"] = table["cuda"]


def _counted(
    recorder: Recorder, compiler: AbsentCompiler, state: dict[str, Any], request: Count, choices: list[Choice]
) -> StepCount:
    state_bytes = _stored(state)
    gradients = max((size for phase, _, size in compiler.lowered if phase is Phase.BACKWARD), default=0)
    peaks = {phase: 0 for phase in Phase}
    for phase, lowered, _ in compiler.lowered:
        peaks[phase] = max(peaks[phase], lowered.peak_bytes)
    earlier = gradients if request.shape.accumulation_steps > 1 else 0  # of the passes before this one
    peak = max(peaks[Phase.FORWARD] + earlier, peaks[Phase.BACKWARD] + earlier, peaks[Phase.OPTIMIZER] + gradients)
    return StepCount(
        kernels=recorder.counts(),
        host_launches=recorder.host_launches,
        state_bytes=state_bytes,
        gradient_bytes=gradients,
        peak_bytes=state_bytes + peak,
        compiled=compile_all(compiler) if request.compile_kernels else (),
        notes=tuple(f"{one.what}: {one.chosen} ({one.reason})" for one in choices)[:50],
    )


def _stored(state: dict[str, Any]) -> int:
    """Arrays that begin at the same place in memory count once."""
    arrays = [array for group in state.values() for array in group.values() if isinstance(array, torch.Tensor)]
    places = {(id(array.untyped_storage()), array.storage_offset()): stored_bytes(array) for array in arrays}
    return sum(places.values())
