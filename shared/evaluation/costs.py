"""What evaluations cost on this machine: one append-only JSON line per measurement, kept per hardware key.

shared/evaluation/rungs.py chooses a rung from these lines; the evaluator appends one after each scoring pass. A
signature is the hash of the named fields a cost depends on, so a changed framework or shape never meets an old
measurement.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock
from pydantic import AwareDatetime, Field, ValidationError

from shared.contracts import Contract, Rung, RunId, Sha256, Shape
from shared.files import sync, sync_directory
from shared.settings import settings

LOCK_TIMEOUT_S = 10.0


class CostKey(Contract):
    """What a cost depends on; measurements with different keys say nothing about each other."""

    hardware_key: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$")
    shape_signature: Sha256
    runtime_signature: Sha256
    eval_signature: Sha256
    """shared/evaluation/rungs.py: eval_signature()"""


class EvalCost(CostKey):
    """One line: what scoring one checkpoint on one rung took."""

    rung: Rung
    num_tokens: int = Field(gt=0)
    """tokens scored; fewer than the rung's when the corpus is smaller"""
    seconds: float = Field(gt=0)
    """scoring passes alone: starting the evaluator costs the same on every rung"""
    run_id: RunId
    measured_at: AwareDatetime

    @property
    def seconds_per_token(self) -> float:
        return self.seconds / self.num_tokens


@dataclass(frozen=True)
class CostHistory:
    costs: tuple[EvalCost, ...]
    note: str = ""
    """what could not be read and was left out; empty when every line was"""


def signature(**fields: object) -> str:
    """SHA-256 over the fields' names and values, whatever their order. TypeError when a value is not plain JSON."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def shape_signature(shape: Shape, eval_batch_size: int) -> str:
    return signature(kind="shape", eval_batch_size=eval_batch_size, **shape.model_dump())


def runtime_signature(*, engine: str, framework_version: str, dtype: str, attention: str) -> str:
    return signature(
        kind="runtime", engine=engine, framework_version=framework_version, dtype=dtype, attention=attention
    )


def costs_file(hardware_key: str) -> Path:
    """ValueError when the key could not be a folder's name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}", hardware_key):
        raise ValueError(f"hardware key '{hardware_key}' may hold only letters, digits and . _ -")
    return settings().home / "platform" / hardware_key / "eval_costs.jsonl"


def append_cost(cost: EvalCost) -> None:
    """Durable when it returns. filelock.Timeout when another process holds the file for 10 s."""
    path = costs_file(cost.hardware_key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S), open(path, "a+b") as file:
        _drop_torn_line(file)
        file.write(cost.model_dump_json().encode() + b"\n")
        file.flush()
        sync(file.fileno())
    sync_directory(path.parent)


def _drop_torn_line(file: BinaryIO) -> None:
    """Cuts what a killed writer left after the last newline: nobody was told that it was stored."""
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)


def read_costs(hardware_key: str) -> CostHistory:
    """Every measurement of this machine, oldest first; lines that cannot be read are counted in the note."""
    path = costs_file(hardware_key)
    if not path.exists():
        return CostHistory(())
    costs, unreadable = [], 0
    for line in path.read_bytes().splitlines():
        try:
            costs.append(EvalCost.model_validate_json(line))
        except ValidationError:
            unreadable += 1
    note = f"{path.name}: {unreadable} unreadable line(s) left out (a write was cut short)" if unreadable else ""
    return CostHistory(tuple(costs), note)
