"""The outbox on disk: a note in ARE_RUNS/outbox for each run or calibration that MLflow does not have yet."""

import json
from pathlib import Path

from shared.files import write_atomic
from shared.settings import settings


def outbox_folder() -> Path:
    return settings().runs / "outbox"


def pending_notes() -> list[Path]:
    """The notes of the runs that wait, oldest first."""
    return sorted(outbox_folder().glob("*.json"), key=lambda note: (note.stat().st_mtime_ns, note.name))


def write_note(name: str, kind: str, folder: Path) -> Path:
    """What waits already keeps its place in the order."""
    note = outbox_folder() / f"{name}.json"
    content = json.dumps({kind: str(folder.resolve())}) + "\n"
    if not note.exists() or note.read_text() != content:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(note, content)
    return note
