"""The token cache: every document of a shard tokenized once. Three files a shard, the JSON comes last.

<index>.u16   tokens, each document with BOS in front     <index>.u32   document lengths in tokens
<index>.json  CachedShard. A file that does not match its record is made again, and that is said.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from shared.contracts import Contract, Sha256
from shared.data.dataset import Shard
from shared.data.rows import remembered_sha256
from shared.files import atomic_writer
from shared.runs.directory import read_record, write_record

# Upstream refills its buffer with batches of this many documents, cut within a row group.
REFILL_DOCUMENTS = 128
READ_BUFFER_BYTES = 2**20

# (length in tokens, the first tokens of the document as bytes: as many as a row can hold)
Document = tuple[int, bytes]


class CachedShard(Contract):
    shard: Shard
    tokenizer: Sha256
    num_tokens: int
    row_groups: tuple[int, ...]
    """documents in each row group that has any"""
    tokens_sha256: Sha256
    lengths_sha256: Sha256

    @property
    def num_documents(self) -> int:
        return sum(self.row_groups)


def tokens_file(directory: Path, index: int) -> Path:
    return directory / f"{index:05d}.u16"


def lengths_file(directory: Path, index: int) -> Path:
    return directory / f"{index:05d}.u32"


def record_file(directory: Path, index: int) -> Path:
    return directory / f"{index:05d}.json"


class ShardWriter:
    def __init__(self, tokens: BinaryIO, lengths: BinaryIO) -> None:
        self._tokens, self._lengths = tokens, lengths
        self._tokens_digest, self._lengths_digest = hashlib.sha256(), hashlib.sha256()
        self._num_tokens = 0
        self._row_groups: dict[int, int] = {}

    def add(self, row_group: int, tokens: bytes, lengths: bytes) -> None:
        """Tokens (uint16) and lengths (uint32) of the next documents, little-endian."""
        for file, digest, content in (
            (self._tokens, self._tokens_digest, tokens),
            (self._lengths, self._lengths_digest, lengths),
        ):
            file.write(content)
            digest.update(content)
        self._num_tokens += len(tokens) // 2
        self._row_groups[row_group] = self._row_groups.get(row_group, 0) + len(lengths) // 4

    def record(self, shard: Shard, tokenizer: str) -> CachedShard:
        return CachedShard(
            shard=shard,
            tokenizer=tokenizer,
            num_tokens=self._num_tokens,
            row_groups=tuple(count for count in self._row_groups.values() if count),
            tokens_sha256=self._tokens_digest.hexdigest(),
            lengths_sha256=self._lengths_digest.hexdigest(),
        )


@contextmanager
def shard_writer(directory: Path, index: int, shard: Shard, tokenizer: str) -> Iterator[ShardWriter]:
    """All three files appear when the block ends well, none when it does not."""
    with ExitStack() as files:
        writer = ShardWriter(
            files.enter_context(atomic_writer(tokens_file(directory, index))),
            files.enter_context(atomic_writer(lengths_file(directory, index))),
        )
        yield writer
    write_record(record_file(directory, index), writer.record(shard, tokenizer))


def read_cached(directory: Path, index: int) -> CachedShard:
    """The record of a shard whose files match it. ValueError names the file that does not."""
    record = read_record(record_file(directory, index), CachedShard)
    expected = {
        tokens_file(directory, index): (2 * record.num_tokens, record.tokens_sha256),
        lengths_file(directory, index): (4 * record.num_documents, record.lengths_sha256),
    }
    for path, (num_bytes, digest) in expected.items():
        if not path.is_file():
            raise ValueError(f"{path} is missing")
        if path.stat().st_size != num_bytes or remembered_sha256(path) != digest:
            raise ValueError(f"{path} is truncated or damaged")
    return record


def cached_shards(directory: Path, num_shards: int) -> list[CachedShard]:
    """Records of all shards of a split in order, verified."""
    return [read_cached(directory, index) for index in range(num_shards)]


def refill_batches(directory: Path, shards: list[CachedShard], max_tokens: int) -> Iterator[list[Document]]:
    """Batches as upstream refills its buffer, epoch after epoch without end. One file is open at a time."""
    assert any(shard.num_documents for shard in shards), "an empty split would never yield"
    while True:
        for index, shard in enumerate(shards):
            yield from _shard_batches(directory, index, shard, max_tokens)


def _shard_batches(directory: Path, index: int, shard: CachedShard, max_tokens: int) -> Iterator[list[Document]]:
    with (
        open(tokens_file(directory, index), "rb", buffering=READ_BUFFER_BYTES) as tokens,
        open(lengths_file(directory, index), "rb") as lengths,
    ):
        for num_documents in shard.row_groups:
            for start in range(0, num_documents, REFILL_DOCUMENTS):
                count = min(REFILL_DOCUMENTS, num_documents - start)
                sizes = np.frombuffer(lengths.read(4 * count), dtype="<u4").tolist()
                yield [(size, _beginning(tokens, size, max_tokens)) for size in sizes]


def _beginning(tokens: BinaryIO, size: int, max_tokens: int) -> bytes:
    if size <= max_tokens:
        return tokens.read(2 * size)
    beginning = tokens.read(2 * max_tokens)
    tokens.seek(2 * (size - max_tokens), 1)
    return beginning
