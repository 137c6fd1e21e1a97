"""capture: training steps recorded by Nsight Systems, for its viewer. It needs a CUDA device."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from services.kernel_lab.desk import Desk
from services.kernel_lab.steps import shape_of
from services.kernel_lab.surroundings import Missing, Surroundings
from shared.contracts import one_line
from shared.experiment.presets import preset_of
from shared.kernel_lab.folder import new_trace
from shared.kernel_lab.job import Capture, LabAnswer, LabStatus
from shared.machine.device import Device, DeviceKind
from shared.settings import CHECKOUT

LIMIT_S = 1800.0
TRACED = "cuda,nvtx,osrt,cublas"


@dataclass(frozen=True)
class Recorder:
    """A tool that records, and what shows its recordings."""

    name: str
    suffix: str
    viewer: str
    command: Callable[[Path, list[str]], list[str]]
    """from where to write and the arguments of the steps"""
    environment: Mapping[str, str] = field(default_factory=dict)


STEPS = [sys.executable, "-m", "services.kernel_lab.steps"]


def _nsys(path: Path, steps: list[str]) -> list[str]:
    options = ["--force-overwrite=true", f"--trace={TRACED}", f"--output={path.with_suffix('')}"]
    return ["nsys", "profile", *options, *STEPS, *steps]


def _metal(path: Path, steps: list[str]) -> list[str]:
    preset, _, count = steps
    return [*STEPS, preset, DeviceKind.METAL, count, str(path)]


NSIGHT = Recorder("nsys", ".nsys-rep", "nsys stats", _nsys)
METAL = Recorder("Metal", ".gputrace", "open -a Xcode", _metal, {"MTL_CAPTURE_ENABLED": "1"})


def answer(order: Capture, desk: Desk) -> LabAnswer:
    around = desk.around(order.device)
    device = Device.parse(around.device)
    if device.is_apple:
        if find_spec("mlx") is None:
            raise Missing(
                "missing-runtime", "a .gputrace is of MLX's steps, and MLX is not here: pip install -e '.[mlx]'"
            )
        return _record(order, desk, around, METAL)
    if not device.is_cuda:
        raise Missing("capture-unavailable", "Nsight Systems records CUDA devices; for a CPU: autoresearch lab profile")
    if shutil.which("nsys") is None:
        raise Missing(
            "missing-tool",
            "nsys (Nsight Systems) is not installed; in the stack: make up-<target> NSIGHT=1. autoresearch lab profile "
            "needs no tool",
        )
    return _record(order, desk, around, NSIGHT)


def _record(order: Capture, desk: Desk, around: Surroundings, by: Recorder) -> LabAnswer:
    name, shape = shape_of(order.preset, around.device)
    preset = preset_of(shape)
    if preset is None:
        raise ValueError(f"{name} is a calibrated shape: name a --preset to capture")
    path = order.output or new_trace(f"{preset}{by.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with desk.device_held(around.device):
        done = run_tool(by.command(path, [preset, around.device, str(order.steps)]), by.environment)
    if done.returncode or not path.exists():
        raise Missing("capture-unavailable", f"{by.name} recorded nothing: {last_words(done)}")
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{order.steps} steps of {preset} on {around.hardware_key} are in {path}: {by.viewer} {path}",
        data={"path": str(path), "preset": preset, "hardware_key": around.hardware_key},
    )


def run_tool(command: list[str], more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """In the checkout, where `python -m services...` is found. `more`: environment of the tool."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **(more or {})}
    try:
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing("capture-unavailable", f"{Path(command[0]).name} had not ended after {LIMIT_S:.0f} s") from None


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else f"exit code {done.returncode}", 300)
