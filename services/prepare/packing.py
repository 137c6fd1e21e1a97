"""Best-fit packing of documents into rows, bit-identical to upstream's at O(log n) instead of a scan of the buffer.

The rule: keep 1000 documents or more waiting; into the room left in a row goes the longest that fits, the one that
waits longest among equals; when none fits, the shortest is cropped to the room. No padding, so every row of
seq_len + 1 tokens starts with a BOS.
"""

import hashlib
import sys
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

from services.prepare.lock import writer_lock
from services.prepare.pieces import piece_batches
from services.prepare.report import Report
from services.prepare.token_cache import CachedShard, Document, cached_shards, refill_batches
from shared.contracts import PackJob
from shared.data.dataset import (
    MAX_VALIDATION_ROWS,
    VALIDATION_SEQ_LEN,
    Dataset,
    Split,
    keeps_upstream_rows,
    kept_directory,
    open_reference,
)
from shared.data.rows import PACKING_VERSION, RowsRecord, open_rows, remembered_sha256, rows_file
from shared.files import atomic_writer
from shared.runs.directory import write_record

BUFFER_DOCUMENTS = 1000
# Of validation, for the odds of docs/evaluation.md.
ROWS_TO_AUDIT = 128
# Rows between two reports of progress.
REPORT_ROWS = 512


def pack(batches: Iterator[list[Document]], row_tokens: int) -> Iterator[list[bytes]]:
    """Rows, each as the pieces it is made of: together exactly `row_tokens` tokens of two bytes.

    `batches` must give at least the first `row_tokens` tokens of every document. When they end, so do the rows: what
    does not fill one is left out.
    """
    lengths: list[int] = []  # distinct lengths that wait, sorted
    waiting: dict[int, deque[bytes]] = {}  # documents of each of them, oldest first
    num_waiting = 0
    while True:
        row, room = [], row_tokens
        while room:
            while num_waiting < BUFFER_DOCUMENTS and (batch := next(batches, None)) is not None:
                num_waiting += len(batch)
                for length, document in batch:
                    if length in waiting:
                        waiting[length].append(document)
                    else:
                        waiting[length] = deque((document,))
                        insort(lengths, length)
            if not num_waiting:
                return
            # Of the lengths <= room the largest; the shortest of all when there is none.
            place = max(bisect_right(lengths, room) - 1, 0)
            length = lengths[place]
            queue = waiting[length]
            document = queue.popleft()
            if not queue:
                del waiting[length], lengths[place]
            num_waiting -= 1
            if length > room:
                document, length = document[: 2 * room], room
            row.append(document)
            room -= length
        yield row


def num_rows_for(split: Split, num_tokens: int, seq_len: int) -> int:
    """Of upstream's rows: one pass over the tokens; of the validation split no more than upstream evaluates."""
    return min(max(1, num_tokens // (seq_len + 1)), largest_num_rows(split, seq_len))


def largest_num_rows(split: Split, seq_len: int) -> int:
    return MAX_VALIDATION_ROWS if (split, seq_len) == ("validation", VALIDATION_SEQ_LEN) else sys.maxsize


@dataclass(frozen=True)
class Source:
    """Cached tokens of one split, and whether their rows are upstream's or made of pieces."""

    directory: Path
    shards: list[CachedShard]
    split: Split
    upstream: bool

    @property
    def num_tokens(self) -> int:
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def num_text_tokens(self) -> int:
        """Without the BOS of every document."""
        return self.num_tokens - sum(shard.num_documents for shard in self.shards)

    def rows(self, seq_len: int) -> Iterator[list[bytes]]:
        """ValueError when the validation text does not fill one row."""
        if self.upstream:
            endless = pack(refill_batches(self.directory, self.shards, seq_len + 1), seq_len + 1)
            return islice(endless, num_rows_for(self.split, self.num_tokens, seq_len))
        rows = islice(self._pass(seq_len), largest_num_rows(self.split, seq_len))
        first = next(rows, None)
        if first is not None:
            return chain((first,), rows)
        if self.split == "validation":
            raise ValueError(
                f"the validation text has {self.num_tokens:,} tokens, a row needs {seq_len + 1:,} of them: put more "
                "text into the last file, or more rows into a single one"
            )
        # Too little for one row of this length: that one row repeats it.
        again = chain.from_iterable(piece_batches(self.directory, self.shards, seq_len + 1) for _ in count())
        return islice(pack(again, seq_len + 1), 1)

    def _pass(self, seq_len: int) -> Iterator[list[bytes]]:
        return pack(piece_batches(self.directory, self.shards, seq_len + 1), seq_len + 1)


def pack_split(source: Source, rows_directory: Path, seq_len: int, dataset: str, report: Report) -> None:
    """Writes rows-<seq_len> of one split unless it is there and sound."""
    path, split = rows_file(rows_directory, seq_len), source.split
    if _reusable(path, source, seq_len, dataset, report):
        report.say(f"rows: {split} of {seq_len} reused")
        return
    record = _write(path, source, seq_len, dataset, report)
    write_record(path.with_suffix(".json"), record)
    # Reads the file back once: what a disk swallowed shows here, and the first opening is quick.
    assert remembered_sha256(path) == record.sha256, f"{path} was not written as it was packed"
    covered = "" if record.coverage is None else f", {record.coverage:.1%} of the text is in them"
    report.say(f"rows: {split} of {seq_len} packed, {record.num_rows:,} rows{covered}{_too_few(source, record)}")


def _too_few(source: Source, record: RowsRecord) -> str:
    if source.split != "validation" or record.num_rows >= ROWS_TO_AUDIT:
        return ""
    return (
        f": with fewer than {ROWS_TO_AUDIT}, the evaluator misses more of the recipes that look ahead "
        "(docs/evaluation.md), so put more text into the last file, or more rows into a single one"
    )


def _write(path: Path, source: Source, seq_len: int, dataset: str, report: Report) -> RowsRecord:
    digest, num_rows, num_text_tokens = hashlib.sha256(), 0, 0
    rows, expected = source.rows(seq_len), num_rows_for(source.split, source.num_tokens, seq_len)
    title = f"rows: {source.split} of {seq_len}"
    with report.stage(title, expected, "rows") as advance, atomic_writer(path) as file:
        while some := list(islice(rows, REPORT_ROWS)):
            chunk = b"".join(piece for row in some for piece in row)
            digest.update(chunk)
            file.write(chunk)
            num_rows += len(some)
            num_text_tokens += len(chunk) // 2 - sum(len(row) for row in some)  # a BOS each
            advance(len(some))
    return RowsRecord(
        num_rows=num_rows,
        seq_len=seq_len,
        sha256=digest.hexdigest(),
        dataset=dataset,
        packing_version=PACKING_VERSION,
        coverage=None if source.upstream else min(1.0, num_text_tokens / max(1, source.num_text_tokens)),
    )


def _reusable(path: Path, source: Source, seq_len: int, dataset: str, report: Report) -> bool:
    record_path = path.with_suffix(".json")
    if not record_path.exists():
        return False
    try:
        rows = open_rows(path, repair="", every_byte=source.split == "validation")
        record = RowsRecord.model_validate_json(record_path.read_bytes())
    except ValueError as error:
        report.say(f"rows: {str(error).removesuffix('; run: ')}: packing again")
        return False
    as_many = not source.upstream or rows.num_rows == num_rows_for(source.split, source.num_tokens, seq_len)
    return as_many and (record.dataset, record.packing_version) == (dataset, PACKING_VERSION)


def pack_dataset(job: PackJob, report: Report) -> Dataset:
    """Rows of one more length from the token cache. ValueError when that is missing or damaged."""
    dataset = open_reference(job.dataset)
    directory, manifest = dataset.split_path(job.split), dataset.manifest
    cached = token_directory(manifest.corpus, directory, job.split)
    num_shards = sum(shard.split == job.split for shard in manifest.shards)
    with writer_lock(dataset.path, directory, report=report):
        try:
            shards = cached_shards(cached, num_shards)
        except ValueError as error:
            raise ValueError(f"{error}; run: {dataset.repair}") from None
        source = Source(cached, shards, job.split, keeps_upstream_rows(manifest.corpus))
        pack_split(source, directory, job.seq_len, manifest.fingerprint, report)
    return dataset


def token_directory(corpus: str, directory: Path, split: Split) -> Path:
    """Where the tokens lie that a split is packed from."""
    from_pieces = split == "validation" and not keeps_upstream_rows(corpus)
    return kept_directory(directory) if from_pieces else directory
