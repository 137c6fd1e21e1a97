"""Arrays on disk in the way they take in a run: into shared memory, and from there into safetensors files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from services.trainer.hand_over import HandOver, describe
from shared.engines.shared_buffer import HostBuffer
from shared.runs.checkpoint import write_groups


def write_arrays(engine: Any, directory: Path, groups: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One safetensors file a group in `directory`; sha256 by file name."""
    hand_over = HandOver(engine, describe(engine, groups))
    buffer = HostBuffer.create(hand_over.layout.num_bytes)
    try:
        hand_over.attach(buffer.mapped())
        hand_over.fill(groups)
        return write_groups(directory, hand_over.layout.groups, buffer)
    finally:
        buffer.close()


def save(engine: Any, path: Path, arrays: Mapping[str, Any]) -> None:
    """One file NAME.safetensors."""
    write_arrays(engine, path.parent / "written", {path.stem: arrays})
    (path.parent / "written" / f"{path.stem}.safetensors").replace(path)
