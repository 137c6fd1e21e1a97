"""Documents cut into pieces that fit a row, once through the token cache. Not for climbmix, whose rows are upstream's.

Every piece starts with the document's BOS. Cut by tokens, so a document of any length is read to its end.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from services.prepare.token_cache import (
    READ_BUFFER_BYTES,
    REFILL_DOCUMENTS,
    CachedShard,
    Document,
    lengths_file,
    tokens_file,
)

LENGTHS_AT_ONCE = 2**16


def piece_batches(
    directory: Path, shards: list[CachedShard], row_tokens: int, first: int = 0
) -> Iterator[list[Document]]:
    """All pieces of at most `row_tokens` tokens in the order of the text, up to 128 at once. first: shard's index."""
    batch: list[Document] = []
    for index in range(first, first + len(shards)):
        for piece in _pieces(directory, index, row_tokens):
            batch.append((len(piece) // 2, piece))
            if len(batch) == REFILL_DOCUMENTS:
                yield batch
                batch = []
    if batch:
        yield batch


def _pieces(directory: Path, index: int, row_tokens: int) -> Iterator[bytes]:
    with (
        open(tokens_file(directory, index), "rb", buffering=READ_BUFFER_BYTES) as tokens,
        open(lengths_file(directory, index), "rb") as lengths,
    ):
        while sizes := lengths.read(4 * LENGTHS_AT_ONCE):
            for size in np.frombuffer(sizes, dtype="<u4").tolist():
                yield from _cut(tokens, size, row_tokens)


def _cut(tokens: BinaryIO, size: int, row_tokens: int) -> Iterator[bytes]:
    """A document of BOS alone is one piece."""
    bos = tokens.read(2)
    yield bos + tokens.read(2 * min(size - 1, row_tokens - 1))
    for start in range(row_tokens, size, row_tokens - 1):
        yield bos + tokens.read(2 * min(size - start, row_tokens - 1))
