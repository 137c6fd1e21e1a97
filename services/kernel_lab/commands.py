"""Which file answers which command. Those that need a framework are imported when they are asked for."""

import shutil
from importlib import import_module

from kernels import catalog
from services.kernel_lab import opening
from services.kernel_lab.desk import Desk
from services.kernel_lab.surroundings import Missing
from services.kernel_lab.workspace import KERNEL, RECORD
from shared.files import sha256_bytes, write_atomic
from shared.kernel_lab.folder import workspaces_folder
from shared.kernel_lab.job import Bench, Command, Init, LabAnswer, LabJob, LabStatus, Verify

STAGES = {
    "list": "listing",
    "init": "opening",
    "extract": "extract",
    "verify": "verify",
    "bench": "bench",
    "profile": "profile",
    "capture": "capture",
    "trace-profile": "trace_profile",
    "auto-review": "auto_review",
    "deep-profile": "deep_profile",
    "review-trace": "review_trace",
    "evidence": "evidence",
    "orchestrate": "orchestrate",
    "promotion-check": "promotion_check",
    "integration-ab": "integration",
    "integration-suite": "integration",
    "promote": "promote",
}
"""{command: file of this folder with a function answer(order, desk)}"""
PACKAGES = {"torch": "torch", "mlx": "mlx", "scipy": "lab", "triton": "lab"}
"""{package: the extra that has it}"""


def with_workspace(order: Command, desk: Desk) -> Command:
    """A kernel that came as text is laid into a workspace of its own, named by its language and hash."""
    if not isinstance(order, Verify | Bench) or order.source is None:
        return order
    if order.candidate not in catalog.ops():
        raise ValueError(f"a source needs the name of its OP alone, not '{order.candidate}': autoresearch lab list")
    source = order.source.encode()
    folder = workspaces_folder() / f"queued-{order.candidate}-{order.language}-{sha256_bytes(source)[:16]}"
    is_whole = (folder / RECORD).is_file()
    if not is_whole:  # whoever laid it out was killed
        shutil.rmtree(folder, ignore_errors=True)
    opening.answer(Init(op=order.candidate, language=order.language, workspace=folder, refresh=is_whole), desk)
    write_atomic(folder / KERNEL, source)
    return order.model_copy(update={"candidate": str(folder), "source": None})


def carry_out(job: LabJob, desk: Desk) -> LabAnswer:
    """ValueError for wrong input; what is missing here is an answer."""
    command = job.command.command
    try:
        order = with_workspace(job.command, desk)
        return import_module(f"services.kernel_lab.{STAGES[command]}").answer(order, desk)
    except Missing as missing:
        return LabAnswer(command=command, status=LabStatus(missing.status), headline=missing.reason)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        said = f"{error.name} is not installed: pip install -e '.[{PACKAGES[error.name]}]' in the checkout"
        return LabAnswer(command=command, status=LabStatus.MISSING_RUNTIME, headline=said)
