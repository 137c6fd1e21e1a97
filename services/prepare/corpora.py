"""Corpora: where documents come from. All of them give the same thing, ordered shards of row groups of documents.

A row group is a run of documents that packing never crosses when it refills its buffer, as in upstream's
parquet files. Nothing is read or downloaded here: stdlib.py, parquet.py and climbmix.py do that.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from shared.data.dataset import Shard, Split

# (number of the row group, some of its documents in order); a large row group comes in several pieces.
Documents = Iterator[tuple[int, list[str]]]


@dataclass(frozen=True)
class CorpusShard:
    shard: Shard
    num_documents: int
    """upper bound, for progress: nulls count here and are skipped when read"""
    documents: Callable[[], Documents]


@dataclass(frozen=True)
class Corpus:
    identity: str
    """as in Manifest.corpus"""
    shards: tuple[CorpusShard, ...]
    """training shards in order, then validation shards"""

    @property
    def records(self) -> tuple[Shard, ...]:
        return tuple(shard.shard for shard in self.shards)

    def of(self, split: Split) -> list[CorpusShard]:
        return [shard for shard in self.shards if shard.shard.split == split]
