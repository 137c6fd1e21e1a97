"""Events of a calibration: one JSON line each, from which a view can be drawn anywhere."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError

from shared.contracts import Contract, RunId
from shared.experiment.platform_default import PlatformDefault
from shared.files import append_line


class PlannedPhase(Contract):
    name: str
    says: str
    minutes: float
    """0: what the others leave"""


class Event(Contract):
    """One line of events.jsonl: what a person who watches is told."""

    at: AwareDatetime
    spent_s: float = Field(ge=0)
    """of the calibration's minutes, over all processes that worked on it"""
    kind: Literal["plan", "phase", "reused", "begun", "probe", "note", "finished"]
    """begun: a probe that runs now; probe: one that has ended"""
    phase: str = ""
    says: str = ""
    plan: tuple[PlannedPhase, ...] = ()
    status: str = ""
    """of a probe"""
    run_id: RunId | None = None
    best: str = ""
    """the best so far, with its interval"""
    default: PlatformDefault | None = None


def events_file(folder: Path) -> Path:
    return folder / "events.jsonl"


def append_event(folder: Path, **fields: Any) -> Event:
    event = Event(at=datetime.now(UTC), **fields)
    append_line(events_file(folder), event.model_dump_json(exclude_defaults=True))
    return event


def read_events(folder: Path, skip_bytes: int = 0) -> tuple[list[Event], int]:
    """Events behind `skip_bytes`, and where the last whole line ends; lines that cannot be read are left out."""
    path = events_file(folder)
    if not path.exists():
        return [], skip_bytes
    with open(path, "rb") as file:
        file.seek(skip_bytes)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            events.append(Event.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue
    return events, skip_bytes + len(whole)


def read_default_of(folder: Path) -> PlatformDefault:
    """What the last calibration in the folder ended with. ValueError when none came to an end."""
    events, _ = read_events(folder)
    for event in reversed(events):
        if event.default is not None:
            return event.default
    raise ValueError(f"the calibration in {folder} came to no default: run the same command again")
