"""Results of phases: one JSON a phase, with the hash of what went in. What matches is used again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.contracts import Contract
from shared.evaluation.costs import signature
from shared.files import write_atomic

Result = TypeVar("Result", bound=Contract)


class PhaseStore:
    def __init__(self, folder: Path):
        self.folder = folder

    def load(self, phase: str, inputs: Mapping[str, Any], kind: type[Result]) -> tuple[Result | None, str]:
        """The result of the same inputs, and what kept an earlier one from being used; empty when nothing did."""
        path = self._path(phase)
        try:
            content = json.loads(path.read_bytes())
            same = content["inputs"] == hash_of(inputs)
            return (kind.model_validate(content["result"]), "") if same else (None, "")
        except FileNotFoundError:
            return None, ""
        except (ValueError, KeyError, TypeError, ValidationError):
            return None, f"{path.name} is damaged and is made again"

    def save(self, phase: str, inputs: Mapping[str, Any], result: Contract) -> None:
        content = {"inputs": hash_of(inputs), "from": inputs, "result": result.model_dump(mode="json")}
        write_atomic(self._path(phase), json.dumps(content, indent=1) + "\n")

    def forget(self) -> None:
        for path in self.folder.glob("phase-*.json"):
            path.unlink()

    def _path(self, phase: str) -> Path:
        return self.folder / f"phase-{phase}.json"


def hash_of(inputs: Mapping[str, Any]) -> str:
    return signature(kind="phase", **inputs)
