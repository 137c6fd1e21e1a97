"""What the fleet writes down: how a job ended, which attempt is under way, what it does now."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from shared.contracts import Contract, Name, OneLine, RunId, RunResult, Status

# a run id is `<job id>-a<number>`, so a job id is a little shorter; RQ refuses dots and colons
JOB_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
JobId = Annotated[str, StringConstraints(pattern=JOB_ID_PATTERN)]

MAX_ATTEMPTS = 3
"""starts of one job before its infrastructure faults are taken for its end"""


class Verdict(StrEnum):
    """What became of the result of an attempt."""

    ACCEPTED = "accepted"
    LATE = "late"
    """another attempt's result was accepted before"""
    SUPERSEDED = "superseded"
    """a newer attempt has begun"""
    VOID = "void"
    """never offered: the attempt was disturbed"""


class Outcome(Contract):
    """How a job ended. `result` is there when an experiment was run, whatever its status."""

    job_id: JobId
    status: Status
    reason: OneLine = ""
    attempt: int = 0
    run_id: RunId | None = None
    worker: str = ""
    result: RunResult | None = None


class AttemptRecord(Contract):
    """One start of a job, on the disk of its host before the experiment begins and until its result is accepted."""

    job_id: JobId
    number: int
    """fencing number: a higher one has been handed out when this attempt is no longer the newest"""
    execution: str
    queue: str
    device: str
    worker: str
    host: str = ""
    group: Name = ""
    """the jobs that were submitted together with it, where whoever submitted them said so"""
    pid: int
    started_at: float
    """seconds since the epoch"""
    birth: str = Field(default="", max_length=100)
    """of its process (shared/machine/births.py); empty where the system does not tell it"""

    @property
    def run_id(self) -> str:
        return f"{self.job_id}-a{self.number}"


class Counted(Contract):
    """What of an idea's runs was evidence when one of them ended."""

    values: tuple[float, ...] = Field(default=(), max_length=100)
    """val_bpb by seed, in the order in which seeds were drawn"""
    num_failed: int = 0
    """runs that ended without a number through the recipe's own doing"""
    at: float
    """seconds since the epoch"""


class Delivery(Contract):
    """delivery.json in a run directory: what became of the attempt's result."""

    attempt: AttemptRecord
    verdict: Verdict
    counted: Counted | None = None
    """of an accepted run of an idea"""


class Progress(Contract):
    """What an attempt does at the moment."""

    attempt: int
    activity: str
    progress: float = 0.0
    """of the training budget"""
    step: int | None = None
    loss: float | None = None
    tok_per_sec: float | None = None
