"""The ledger: everything the lab learned, one JSON line each, never changed afterwards.

Appending takes a lock and reaches the disk before it returns. A writer that was killed leaves at most one torn line,
which the next one ends and every reader passes over and counts.
"""

import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import Field, ValidationError

from kernels.records import HardwareKey, Trace
from shared.contracts import Contract, OneLine, Sha256
from shared.files import append_line
from shared.kernel_lab.folder import ledger_file
from shared.kernel_lab.job import LabStatus

LOCK_TIMEOUT_S = 60.0


class EventKind(StrEnum):
    INIT = "init"
    VERIFY = "verify"
    BENCH = "bench"
    PROFILE = "profile"
    CAPTURE = "capture"
    TRACE_REVIEW = "trace-review"
    INTEGRATION_BEGUN = "integration-begun"
    """before the first pair, so that a comparison that was broken off is known, too"""
    INTEGRATION = "integration"
    PROMOTE = "promote"
    DEMOTE = "demote"


class Event(Contract):
    """One thing that was learned, of which candidate, on which hardware."""

    schema_version: Literal[1] = 1
    id: str = Field(default_factory=lambda: secrets.token_hex(6), pattern=r"^[0-9a-f]{12}$")
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    kind: EventKind
    status: LabStatus
    op: str
    candidate: str
    """OP/KERNEL, or the workspace's path"""
    candidate_sha256: Sha256
    """of the one mutable file: another text is another candidate"""
    fixed_sha256: Sha256
    """of definition, references and harness as they were"""
    hardware_key: HardwareKey
    headline: OneLine
    traces: tuple[Trace, ...] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class Ledger:
    def __init__(self, path: Path | None = None):
        self.path = path or ledger_file()
        self.unreadable = 0
        """lines passed over by the last `read`"""

    def append(self, event: Event) -> Event:
        """Durable when it returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S):
            append_line(self.path, event.model_dump_json())
        return event

    def touch(self) -> None:
        """There from now on, so that it can be tried whether a candidate reads it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()

    def read(self) -> list[Event]:
        """Every readable event, oldest first."""
        self.unreadable, events = 0, []
        for line in self._lines():
            try:
                events.append(Event.model_validate_json(line))
            except ValidationError:
                self.unreadable += 1
        return events

    def _lines(self) -> Iterator[bytes]:
        if self.path.exists():
            yield from filter(None, self.path.read_bytes().split(b"\n"))


def of_candidate(events: Iterable[Event], sha256: str, hardware_key: str) -> list[Event]:
    """What is known of these very bytes on this hardware."""
    return [event for event in events if event.candidate_sha256 == sha256 and event.hardware_key == hardware_key]
