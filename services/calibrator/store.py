"""Results of phases: one JSON a phase, with the hash of what went in. What matches is used again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.contracts import Contract, Sha256
from shared.evaluation.costs import signature
from shared.files import write_atomic


class Entry(Contract):
    """phase-NAME.json"""

    inputs: Sha256
    allowance_s: float
    """as it was when the phase began; one that goes on after a kill decides by the same"""
    came_from: dict[str, Any]
    """what the hash is of"""
    result: dict[str, Any] | None = None
    """None: begun and not ended"""


class PhaseStore:
    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, phase: str, inputs: Mapping[str, Any]) -> tuple[Entry | None, str]:
        """What was begun or ended with the same inputs, and what was wrong with the file; empty when nothing was."""
        path = self._path(phase)
        try:
            entry = Entry.model_validate_json(path.read_bytes())
            return (entry if entry.inputs == hash_of(inputs) else None), ""
        except FileNotFoundError:
            return None, ""
        except ValidationError:
            return None, f"{path.name} is damaged and is made again"

    def save(self, phase: str, inputs: Mapping[str, Any], allowance_s: float, result: Contract | None = None) -> None:
        entry = Entry(
            inputs=hash_of(inputs),
            allowance_s=allowance_s,
            came_from=dict(inputs),
            result=result.model_dump(mode="json") if result else None,
        )
        write_atomic(self._path(phase), entry.model_dump_json(indent=1) + "\n")

    def forget(self) -> None:
        for path in self.folder.glob("phase-*.json"):
            path.unlink()

    def _path(self, phase: str) -> Path:
        return self.folder / f"phase-{phase}.json"


def hash_of(inputs: Mapping[str, Any]) -> str:
    return signature(kind="phase", **inputs)
