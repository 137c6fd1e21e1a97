"""Packed rows: a file of little-endian uint16 tokens, [num_rows, seq_len + 1], and a JSON record beside it.

Reading is a memory map: a position is a row number, it wraps at the end, and the same position always gives the
same rows. What is in a row and why: docs/data.md; who writes them: services/prepare/packing.py.
"""

import hashlib
import json
import mmap
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import Field, ValidationError

from shared.contracts import Contract, Sha256
from shared.files import sha256_file, write_atomic

# Part of every dataset's fingerprint: raise it when the same documents would give other rows.
PACKING_VERSION = 1


class RowsRecord(Contract):
    """What a rows file must be; lies beside it as rows-<seq_len>.json."""

    num_rows: int = Field(gt=0)
    seq_len: int = Field(gt=1)
    sha256: Sha256
    dataset: Sha256
    packing_version: int
    coverage: float | None = Field(default=None, ge=0, le=1)
    """of the split's text: the share of its tokens that stands in some row; None where rows are upstream's"""

    @property
    def num_bytes(self) -> int:
        return 2 * self.num_rows * (self.seq_len + 1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one split at one length; `tokens` is read-only uint16 [num_rows, seq_len + 1]."""

    tokens: np.ndarray

    @classmethod
    def from_descriptor(cls, descriptor: int, num_rows: int, seq_len: int) -> "Rows":
        """Maps an open file; the descriptor may be closed afterwards. ValueError when the size is wrong."""
        num_bytes = 2 * num_rows * (seq_len + 1)
        found = os.fstat(descriptor).st_size
        if found != num_bytes:
            raise ValueError(f"{num_rows} rows of {seq_len} + 1 tokens are {num_bytes} bytes, the file has {found}")
        mapped = mmap.mmap(descriptor, num_bytes, prot=mmap.PROT_READ)
        return cls(np.frombuffer(mapped, dtype="<u2").reshape(num_rows, seq_len + 1))

    @property
    def num_rows(self) -> int:
        return self.tokens.shape[0]

    @property
    def seq_len(self) -> int:
        return self.tokens.shape[1] - 1

    def read(self, start: int, count: int) -> np.ndarray:
        """Rows start .. start + count as a writable copy, uint16 [count, seq_len + 1]; wraps at the end."""
        first = start % self.num_rows
        if first + count <= self.num_rows:
            return self.tokens[first : first + count].copy()
        return self.tokens[np.arange(start, start + count) % self.num_rows]

    def sha256(self) -> str:
        """Of the mapped bytes themselves: what was hashed is what is read."""
        return hashlib.sha256(self.tokens.data.cast("B")).hexdigest()


def rows_file(directory: Path, seq_len: int) -> Path:
    return directory / f"rows-{seq_len}.u16"


def read_rows_record(path: Path, repair: str) -> RowsRecord:
    """The record beside rows file `path`. ValueError when it or the file is not there."""
    record_path = path.with_suffix(".json")
    if not path.is_file() or not record_path.is_file():
        raise ValueError(f"{path} is not there; run: {repair}")
    try:
        return RowsRecord.model_validate_json(record_path.read_bytes())
    except ValidationError:
        raise ValueError(f"{record_path} is damaged; run: {repair}") from None


def open_rows(path: Path, repair: str, every_byte: bool = False) -> Rows:
    """Rows whose size and sha256 are the recorded ones; ValueError names the file and the `repair` command.

    A file whose stamp shows that this content was hashed before is not read again, unless `every_byte`.
    """
    record = read_rows_record(path, repair)
    with open(path, "rb") as file:
        try:
            rows = Rows.from_descriptor(file.fileno(), record.num_rows, record.seq_len)
        except ValueError as error:
            raise ValueError(f"{path} is truncated or damaged ({error}); run: {repair}") from None
    found = rows.sha256() if every_byte else remembered_sha256(path)
    if found != record.sha256:
        raise ValueError(f"{path} is damaged: its sha256 is not the recorded one; run: {repair}")
    return rows


def stamp_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.stamp")


def remembered_sha256(path: Path, stamp: Path | None = None) -> str:
    """sha256 of a big file, hashed once: the stamp keeps it as long as size and modification time stay."""
    stamp = stamp or stamp_file(path)
    state = path.stat()
    key = {"num_bytes": state.st_size, "mtime_ns": state.st_mtime_ns}
    with suppress(FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        remembered = json.loads(stamp.read_bytes())
        if isinstance(remembered, dict) and {name: remembered.get(name) for name in key} == key:
            return str(remembered.get("sha256"))
    digest = sha256_file(path)
    # A mount without write access cannot remember; then the file is hashed at every opening.
    with suppress(OSError):
        write_atomic(stamp, json.dumps({**key, "sha256": digest}))
    return digest
