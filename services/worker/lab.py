"""The kernel lab as a job: candidates run in the executor that holds the device, integrations place experiments.

An integration is carried out beside the worker, by a process that places its runs in the spools as the worker does.
"""

import re
from typing import Any

from services.worker.attempt import Attempt
from services.worker.stage_job import run_stage
from shared.contracts import Contract, Status
from shared.experiment.request import validated
from shared.kernel_lab import job as commands
from shared.kernel_lab.job import LARGEST_CANDIDATE_BYTES, LabAnswer, LabJob, LabStatus, take_answer
from shared.settings import settings
from shared.stages.executors import Executor, NativeExecutor
from shared.stages.spool import SpoolExecutor

CANDIDATE = re.compile(r"[a-z][a-z0-9_]{0,59}(/(wrong/)?[a-z][a-z0-9_]{0,59})?")
"""an op with a source, or a kernel of kernels/: no path of this machine"""
MODELS: dict[str, type[Contract]] = {
    "verify": commands.Verify,
    "bench": commands.Bench,
    "profile": commands.Profile,
    "capture": commands.Capture,
    "deep-profile": commands.DeepProfile,
    "integration-ab": commands.Integration,
    "integration-suite": commands.Integration,
    "evidence": commands.Evidence,
}
"""what a job may ask for; the rest writes into the checkout, or reads files of whoever asks"""
PLACES_EXPERIMENTS = ("integration-ab", "integration-suite")


def lab_job(attempt: Attempt, arguments: dict[str, Any], source: Any) -> LabJob:
    """ValueError, in one line, for what is no command that a job may ask for."""
    command = arguments.get("command")
    if command not in MODELS:
        raise ValueError(f"unknown command {str(command)[:40]!r}: a lab job takes {', '.join(MODELS)}")
    if "candidate" in arguments and not CANDIDATE.fullmatch(str(arguments["candidate"])):
        raise ValueError("candidate: name an OP or OP/KERNEL of kernels/; a workspace travels as source=@kernel.py")
    if arguments.get("output") is not None:
        raise ValueError("output: a job writes where the lab keeps its traces")
    values = {"device": attempt.record.device, **arguments}
    if source is not None:
        values["source"] = checked(source)
    return LabJob(command=validated(MODELS[str(command)], values))


def checked(source: Any) -> str:
    if not isinstance(source, str) or not source.strip():
        raise ValueError("source: give the text of a kernel (rq enqueue ... source=@FILE)")
    if len(source.encode(errors="surrogatepass")) > LARGEST_CANDIDATE_BYTES:
        raise ValueError(f"source: a kernel has at most {LARGEST_CANDIDATE_BYTES >> 10} KiB")
    return source


def run_lab(attempt: Attempt, job: LabJob) -> tuple[Status, str]:
    """How it ended and one line about it. InfrastructureFault: the same job is started again.

    How long a command takes that trains nothing depends on the kernel, so it is ended after what a worker takes a job
    for. What it asks of an integration is known beforehand (services/worker/jobs.py).
    """
    limit_s = None if job.command.command in PLACES_EXPERIMENTS else settings().largest_budget_s
    status, line = run_stage(attempt, "kernel-lab", job, _executor_of(attempt, job), limit_s)
    return _said(take_answer(job)) if status is Status.OK else (status, line)


def _executor_of(attempt: Attempt, job: LabJob) -> Executor:
    if job.command.command not in PLACES_EXPERIMENTS or not isinstance(attempt.executor, SpoolExecutor):
        return attempt.executor
    return NativeExecutor(environment={"ARE_SPOOL": str(attempt.executor.folder)})


def _said(answer: LabAnswer) -> tuple[Status, str]:
    """A candidate that failed is a result; what is missing on this machine is no fault of its author."""
    if answer.status is LabStatus.OK:
        return Status.OK, answer.headline
    if answer.status is LabStatus.FAILED:
        return Status.REJECTED, answer.headline
    return Status.INVALID, f"{answer.status}: {answer.headline}"
