"""Which file answers which command. Those that need a framework are imported when they are asked for."""

from importlib import import_module

from services.kernel_lab.desk import Desk
from services.kernel_lab.surroundings import Missing
from shared.kernel_lab.job import LabAnswer, LabJob, LabStatus

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


def carry_out(job: LabJob, desk: Desk) -> LabAnswer:
    """ValueError for wrong input; what is missing here is an answer."""
    command = job.command.command
    try:
        return import_module(f"services.kernel_lab.{STAGES[command]}").answer(job.command, desk)
    except Missing as missing:
        return LabAnswer(command=command, status=LabStatus(missing.status), headline=missing.reason)
