"""deep-profile: one kernel of kernels/ under Nsight Compute, where the host opened its performance counters to users.
That takes no capability of ours, and none is asked for.
"""

import shutil
import sys
from pathlib import Path

from services.kernel_lab.capture import last_words, run_tool
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.surroundings import Missing
from shared.kernel_lab.folder import new_trace
from shared.kernel_lab.job import DeepProfile, LabAnswer, LabStatus
from shared.machine.device import Device

NO_COUNTERS = "ERR_NVGPUCTRPERM"


def answer(order: DeepProfile, desk: Desk) -> LabAnswer:
    subject, around = desk.subject(order.candidate), desk.around(order.device)
    if not Device.parse(around.device).is_cuda:
        raise Missing("capture-unavailable", "Nsight Compute measures CUDA kernels; this device is " + around.device)
    if (program := shutil.which("ncu")) is None:
        raise Missing("missing-tool", "ncu (Nsight Compute) is not installed; in the stack: make up-<target> NSIGHT=1")
    if subject.is_workspace:
        raise ValueError("ncu runs what it measures outside the sandbox: only kernels of kernels/, not workspaces")
    kernel = subject.solution.name.partition("/")[2]
    path = order.output or new_trace(f"{subject.op}-{kernel.replace('/', '-')}.ncu-rep")
    path.parent.mkdir(parents=True, exist_ok=True)
    with desk.place_for(subject.language, order.device):
        done = run_tool(_command(program, path, subject.op, kernel))
    if NO_COUNTERS in done.stdout + done.stderr:
        why = "this host keeps its performance counters to root (NVreg_RestrictProfilingToAdminUsers=0 opens them)"
        raise Missing("capture-unavailable", why)
    if done.returncode or not path.exists():
        raise Missing("capture-unavailable", f"ncu recorded nothing: {last_words(done)}")
    said = LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{subject.name} on {around.hardware_key} is in {path}: ncu --import {path}",
        data={"path": str(path)},
    )
    desk.note(EventKind.CAPTURE, subject, around.hardware_key, said)
    return said


def _command(program: str, path: Path, op: str, kernel: str) -> list[str]:
    options = ["--force-overwrite", "--set", "full", "--export", str(path)]
    return [program, *options, sys.executable, "-m", "services.kernel_lab.one_call", op, kernel]
