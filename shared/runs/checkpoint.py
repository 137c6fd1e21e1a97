"""Checkpoints on disk: written by the trainer's supervisor, read by the evaluator and by a resumed trainer.

    checkpoint/latest.json                 CheckpointRecord, replaced atomically: it alone makes a checkpoint exist
    checkpoint/step-00000444/model.safetensors, optimizer.safetensors, rng.safetensors
    checkpoint/curve-01/...                weights kept for the validation curve, record.json beside them

The final checkpoint holds the weights alone.

A kill between two writes leaves the previous checkpoint in force.
"""

import hashlib
import shutil
from collections.abc import Mapping
from io import RawIOBase
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import Field

from shared.contracts import Contract, CurvePoint, Sha256, Shape
from shared.engines import Engine
from shared.engines.shared_buffer import HostBuffer
from shared.files import sha256_file, sync, sync_directory
from shared.runs.directory import read_record, write_record
from shared.runs.layout import Group

COPY_BYTES = 1 << 24


class CheckpointRecord(Contract):
    folder: str = Field(pattern=r"^step-\d{8}(-\d+)?$")
    step: int
    """optimizer steps done"""
    tokens: int
    next_row: int
    """position in the training rows"""
    train_seconds: float
    loss_ema: float
    """not debiased"""
    final: bool
    recipe_sha: Sha256
    shape: Shape
    files: dict[str, Sha256]


class CurveRecord(Contract):
    progress: float
    train_seconds: float
    step: int
    sha256: Sha256

    def scored(self, val_bpb: float) -> CurvePoint:
        return CurvePoint(**self.model_dump(exclude={"sha256"}), val_bpb=val_bpb)


def free_folder(directory: Path, step: int) -> str:
    """A name for the checkpoint after `step` steps that is not taken: the one in force may be of the same step."""
    names = (f"step-{step:08d}-{attempt}" if attempt else f"step-{step:08d}" for attempt in count())
    return next(name for name in names if not (directory / name).exists())


def write_groups(directory: Path, groups: Mapping[str, Group], buffer: HostBuffer) -> dict[str, str]:
    """One safetensors file a group, in a folder that appears whole. Returns sha256 by file name."""
    partial = directory.with_name(f".{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(directory, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        files = {
            f"{name}.safetensors": _write(partial / f"{name}.safetensors", groups[name], buffer) for name in groups
        }
        sync_directory(partial)
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_directory(directory.parent)
    return files


def _write(path: Path, group: Group, buffer: HostBuffer) -> str:
    """On disk when it returns; what is hashed is what is written, whatever happens to the buffer meanwhile."""
    digest = hashlib.sha256(group.header)
    piece = bytearray(COPY_BYTES)
    with open(path, "wb", buffering=0) as file:
        _write_all(file, memoryview(group.header))
        for start in range(0, group.num_bytes, COPY_BYTES):
            part = memoryview(piece)[: min(COPY_BYTES, group.num_bytes - start)]
            buffer.read_into(part, group.offset + start)
            digest.update(part)
            _write_all(file, part)
        sync(file.fileno())
    return digest.hexdigest()


def _write_all(file: RawIOBase, content: memoryview) -> None:
    """A disk that is nearly full takes a part, and refuses the next one."""
    while content:
        content = content[file.write(content) or 0 :]


def commit(directory: Path, record: CheckpointRecord) -> None:
    """Makes `record` the checkpoint in force and removes older and unfinished ones."""
    write_record(directory / "latest.json", record)
    for old in (*directory.glob("step-*"), *directory.glob(".step-*.partial")):
        if old.name != record.folder:
            shutil.rmtree(old, ignore_errors=True)


def latest(directory: Path) -> CheckpointRecord | None:
    """The checkpoint in force, or None. ValueError when its record or a file of it is corrupt."""
    if not (directory / "latest.json").exists():
        return None
    record = read_record(directory / "latest.json", CheckpointRecord)
    for name, expected in record.files.items():
        verify_file(directory / record.folder / name, expected)
    return record


def verify_file(path: Path, expected_sha: str) -> None:
    if not path.is_file() or sha256_file(path) != expected_sha:
        raise ValueError(f"{path} is missing or corrupt: delete {path.parent.parent} and resume the run")


def read_arrays(engine: Engine, directory: Path, groups: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {group: engine.load(directory / f"{group}.safetensors") for group in groups}


def drop_points_beyond(directory: Path, restored: CheckpointRecord | None) -> int:
    """Removes every point of the curve that does not lie on the way to `restored`, all of them without one: weights of
    an attempt that is not gone on from were trained in time that nobody counts. Returns how many stay.

    What lies on the way is told by the supervisor's clock, since steps are counted by the recipe's process. Writes
    take turns, and a checkpoint's seconds are those at its end: a point that was begun earlier was on disk before it.
    """
    kept = [
        folder
        for folder in curve_folders(directory)
        if restored and read_record(folder / "record.json", CurveRecord).train_seconds < restored.train_seconds
    ]
    for folder in (*directory.glob("curve-*"), *directory.glob(".curve-*.partial")):
        if folder not in kept:
            shutil.rmtree(folder)
    return len(kept)


def curve_folders(directory: Path) -> list[Path]:
    return sorted(folder for folder in directory.glob("curve-*") if (folder / "record.json").exists())


def read_curve_record(folder: Path) -> CurveRecord:
    record = read_record(folder / "record.json", CurveRecord)
    verify_file(folder / "model.safetensors", record.sha256)
    return record
