"""Stage in: a copy of a run directory for an executor that sees no other run. Stage out: what comes back of it.

Two containers share no file system on which a folder could be moved, so files are copied: of 50M parameters with
their optimizer half a gigabyte, once each way. What comes back is a stranger's: regular files under the names a stage
may write, no links, the record last, since it says that the rest is there.
"""

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from time import monotonic

from shared.files import atomic_writer
from shared.runs.directory import RunDirectory
from shared.runs.evaluating import NAME as EVALUATING
from shared.stages.table import find_stage

MIRROR_EVERY_S = 1.0


def stage_in(run: RunDirectory, place: Path, stage: str) -> None:
    """What the stage needs, under `place`. Synced to the disk is what would be staged out after a power cut."""
    place.mkdir(parents=True)
    row = find_stage(stage)
    for name in row.staged_in:
        _copy(run.path / name, place / name, durable=name in row.staged_out)


def stage_out(run: RunDirectory, place: Path, stage: str) -> None:
    """What the stage wrote. May be repeated after a crash: `place` is not touched."""
    for name in find_stage(stage).staged_out:
        _copy(place / name, run.path / name)


class MetricsMirror:
    """What tells how far a staged run is, brought once a second to where it is read meanwhile."""

    def __init__(self, run: RunDirectory, place: Path):
        staged = RunDirectory(place)
        self.pairs = ((staged.metrics_file, run.metrics_file), (place / EVALUATING, run.path / EVALUATING))
        self.incoming = run.path / ".mirror.incoming"
        self.looked_at = 0.0

    def look(self) -> None:
        """Not synced to the disk: at the end the file is staged out as the others are."""
        if monotonic() - self.looked_at < MIRROR_EVERY_S:
            return
        self.looked_at = monotonic()
        for source, target in self.pairs:
            with suppress(FileNotFoundError):
                if stat.S_ISREG(source.lstat().st_mode):
                    self.incoming.write_bytes(_read(source))
                    self.incoming.rename(target)


def read_small(path: Path, max_bytes: int = 1 << 16) -> bytes:
    """A stranger's file. ValueError when it is a link, no regular file or larger; FileNotFoundError as always."""
    try:
        with open(_opened(path), "rb") as stream:
            is_file = stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
            content = stream.read(max_bytes + 1) if is_file else None
    except FileNotFoundError:
        raise
    except OSError:
        content = None
    if content is not None and len(content) <= max_bytes:
        return content
    raise ValueError(f"{path} is no regular file of at most {max_bytes >> 10} KiB")


def _copy(source: Path, target: Path, durable: bool = True) -> None:
    """A file or a folder, whole or not at all; nothing when it is not there or is neither."""
    try:
        mode = source.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISREG(mode):
        _copy_file(source, target, durable)
    elif stat.S_ISDIR(mode):
        _replace_folder(source, target, durable)


def _replace_folder(source: Path, target: Path, durable: bool) -> None:
    incoming = target.with_name(f".{target.name}.incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    for folder, _, files in os.walk(source):  # does not follow links
        inside = incoming / Path(folder).relative_to(source)
        inside.mkdir()
        for name in files:
            if stat.S_ISREG(Path(folder, name).lstat().st_mode):
                _copy_file(Path(folder, name), inside / name, durable)
    shutil.rmtree(target, ignore_errors=True)
    incoming.rename(target)


def _copy_file(source: Path, target: Path, durable: bool) -> None:
    with open(_opened(source), "rb") as stream, atomic_writer(target, durable) as file:
        shutil.copyfileobj(stream, file, 1 << 20)


def _read(path: Path) -> bytes:
    with open(_opened(path), "rb") as stream:
        return stream.read()


def _opened(path: Path) -> int:
    """A link that was put there in the meantime is an OSError."""
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
