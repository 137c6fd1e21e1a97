"""What every command works with: the ledger, a scratch folder, who starts experiments, and how an event is noted."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

from kernels.records import Language, Trace
from services.kernel_lab.ledger import Event, EventKind, Ledger
from services.kernel_lab.subject import Subject, find
from services.kernel_lab.surroundings import Surroundings, need, surroundings
from shared import sandbox
from shared.kernel_lab.folder import answer_file, work_folder
from shared.kernel_lab.job import LabAnswer, LabStatus, leave_doing
from shared.machine.device_lock import check_idle, device_lock
from shared.sandbox.ending import adopt_orphans, strongest
from shared.settings import settings
from shared.stages.executors import Executor

LEFT_BEHIND_S = 24 * 3600.0


@dataclass(frozen=True)
class Desk:
    job_id: str
    executor: Executor
    """of the experiments of an integration"""
    holds_device: bool = False
    """whoever asked holds its lock"""
    ledger: Ledger = field(default_factory=Ledger)

    def subject(self, candidate: str) -> Subject:
        return find(candidate, self.ledger)

    def say(self, line: str) -> None:
        """What is done now: a command may take minutes."""
        leave_doing(self.job_id, line)

    def around(self, device: str | None) -> Surroundings:
        return surroundings(device, work_folder(self.job_id))

    @contextmanager
    def place_for(self, language: Language, device: str | None) -> Iterator[Surroundings]:
        """Holds the device for a candidate. Missing when its language cannot run there; DeviceBusy as it says."""
        around = self.around(device)
        need(language, around)
        adopt_orphans()
        self.ledger.touch()
        with self.device_held(around.device), scratch(around.work):
            yield around

    @contextmanager
    def device_held(self, device: str) -> Iterator[None]:
        """DeviceBusy while somebody else computes on it; what is measured beside others says nothing."""
        with nullcontext() if self.holds_device else device_lock(device):
            check_idle(device)
            yield

    def note(
        self,
        kind: EventKind,
        subject: Subject,
        hardware_key: str,
        answer: LabAnswer,
        *,
        traces: list[Trace] | None = None,
        **details: Any,
    ) -> Event:
        return self.ledger.append(
            Event(
                kind=kind,
                status=answer.status,
                op=subject.op,
                candidate=subject.name,
                candidate_sha256=subject.sha256,
                fixed_sha256=subject.fixed_sha256,
                hardware_key=hardware_key,
                headline=answer.headline,
                traces=tuple(traces or ()),
                details=details | (fence() if kind in (EventKind.VERIFY, EventKind.BENCH) else {}),
            )
        )


def fence() -> dict[str, str]:
    """What stood between a candidate and this machine, for the record."""
    described = sandbox.describe()
    kind = described.chosen if settings().sandbox == "on" else sandbox.SandboxKind.NONE
    return {"sandbox": str(kind), "isolation": str(strongest())}


@contextmanager
def scratch(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    for place in (folder.parent, answer_file("").parent):
        clear_away(place)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def clear_away(place: Path) -> None:
    """What commands that were killed left there, and answers that nobody read."""
    for path in place.iterdir() if place.is_dir() else ():
        with suppress(FileNotFoundError):  # another command may take it away
            if time() - path.stat().st_mtime > LEFT_BEHIND_S:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def passed(status: bool) -> LabStatus:
    return LabStatus.OK if status else LabStatus.FAILED
