"""Where the kernel lab keeps things: ARE_HOME/kernel_lab. No candidate can read any of it but its own file.

ledger.jsonl       everything that was learned (services/kernel_lab/ledger.py)
workspaces/NAME    one mutable kernel.py each (services/kernel_lab/workspace.py)
traces/TIME-NAME   what was recorded, where nobody said where
answers/ID.json    the answer to one command, until whoever asked has read it
answers/ID.doing   what that command does just now, in one line
work/ID            scratch of candidates that run now
"""

from datetime import UTC, datetime
from pathlib import Path

from shared.settings import settings


def lab_folder() -> Path:
    return settings().home / "kernel_lab"


def ledger_file() -> Path:
    return lab_folder() / "ledger.jsonl"


def workspaces_folder() -> Path:
    return lab_folder() / "workspaces"


def new_trace(name: str) -> Path:
    """For what is recorded now."""
    return lab_folder() / "traces" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{name}"


def answer_file(job_id: str) -> Path:
    return lab_folder() / "answers" / f"{job_id}.json"


def doing_file(job_id: str) -> Path:
    return lab_folder() / "answers" / f"{job_id}.doing"


def work_folder(job_id: str) -> Path:
    return lab_folder() / "work" / job_id
