"""profile: training steps of the shipped recipe under torch.profiler, its trace kept and read.

On a CUDA device kernels are recorded through CUPTI (Kineto), on a CPU operators.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from services.kernel_lab.auto_review import review, what_is_missing
from services.kernel_lab.desk import Desk
from services.kernel_lab.steps import open_step, shape_of
from services.kernel_lab.surroundings import Missing
from services.kernel_lab.trace_events import read_trace
from services.kernel_lab.trace_profile import profile_answer
from shared.kernel_lab.folder import new_trace
from shared.kernel_lab.job import LabAnswer, Profile


def answer(order: Profile, desk: Desk) -> LabAnswer:
    if find_spec("torch") is None:
        raise Missing("missing-runtime", "PyTorch is not installed: it records the steps (pip install torch)")
    around = desk.around(order.device)
    name, shape = shape_of(order.preset, around.device)
    path = order.output or new_trace(f"{name}.json")
    with desk.device_held(around.device):
        step, synchronize = open_step(shape, around.device)
        record(step, synchronize, order.steps, path)
    events = read_trace(path)
    said = profile_answer(
        order.command, events, order.top_k, trace=str(path), preset=name, hardware_key=around.hardware_key
    )
    verdict = "" if what_is_missing(events) else f"; {review(events, 'auto-review').data['verdict']}"
    headline = f"{order.steps} steps of {name}: {said.headline}{verdict}; the trace is {path}"
    return said.model_copy(update={"headline": headline})


def record(step: Callable[[], None], synchronize: Callable[[], None], steps: int, path: Path) -> None:
    """Writes the trace of so many steps, each as its own annotation."""
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.profiler.profile(activities=activities) as profiler:
        for number in range(steps):
            with torch.profiler.record_function(f"ProfilerStep#{number}"):
                step()
        synchronize()
    profiler.export_chrome_trace(str(path))
