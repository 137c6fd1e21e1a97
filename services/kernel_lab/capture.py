"""capture: training steps recorded by Nsight Systems, for its viewer. It needs a CUDA device."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from services.kernel_lab.desk import Desk
from services.kernel_lab.steps import shape_of
from services.kernel_lab.surroundings import Missing, Surroundings
from shared.contracts import one_line
from shared.experiment.presets import preset_of
from shared.kernel_lab.folder import new_trace
from shared.kernel_lab.job import Capture, LabAnswer, LabStatus
from shared.machine.device import Device
from shared.settings import CHECKOUT

LIMIT_S = 1800.0
TRACED = "cuda,nvtx,osrt,cublas"


def answer(order: Capture, desk: Desk) -> LabAnswer:
    around = desk.around(order.device)
    device = Device.parse(around.device)
    if device.is_apple:
        said = "recording .gputrace needs MLX with MTL_CAPTURE_ENABLED=1; the lab's steps are PyTorch's: use Xcode"
        raise Missing("capture-unavailable", said)
    if not device.is_cuda:
        raise Missing("capture-unavailable", "Nsight Systems records CUDA devices; for a CPU: autoresearch lab profile")
    if (program := shutil.which("nsys")) is None:
        raise Missing("missing-tool", "nsys (Nsight Systems) is not installed; autoresearch lab profile needs no tool")
    return _record(order, desk, around, program)


def _record(order: Capture, desk: Desk, around: Surroundings, program: str) -> LabAnswer:
    name, shape = shape_of(order.preset, around.device)
    preset = preset_of(shape)
    if preset is None:
        raise ValueError(f"{name} is a calibrated shape: name a --preset to capture")
    path = order.output or new_trace(f"{preset}.nsys-rep")
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [program, "profile", "--force-overwrite=true", f"--trace={TRACED}", f"--output={path.with_suffix('')}"]
    command += [sys.executable, "-m", "services.kernel_lab.steps", preset, around.device, str(order.steps)]
    with desk.device_held(around.device):
        done = run_tool(command)
    if done.returncode or not path.exists():
        raise Missing("capture-unavailable", f"nsys recorded nothing: {last_words(done)}")
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{order.steps} steps of {preset} on {around.hardware_key} are in {path}: nsys stats {path}",
        data={"path": str(path), "preset": preset, "hardware_key": around.hardware_key},
    )


def run_tool(command: list[str]) -> subprocess.CompletedProcess[str]:
    """In the checkout, where `python -m services...` is found."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    try:
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Missing("capture-unavailable", f"{Path(command[0]).name} had not ended after {LIMIT_S:.0f} s") from None


def last_words(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return one_line(lines[-1] if lines else f"exit code {done.returncode}", 300)
