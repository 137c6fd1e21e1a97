"""Best-fit packing of documents into rows, bit-identical to upstream's at O(log n) instead of a scan of the buffer.

The rule: keep 1000 documents or more waiting; into the room left in a row goes the longest that fits, the one that
waits longest among equals; when none fits, the shortest is cropped to the room. No padding, so every row of
seq_len + 1 tokens starts with a BOS.
"""

import hashlib
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from services.prepare.lock import writer_lock
from services.prepare.report import Report
from services.prepare.token_cache import CachedShard, Document, cached_shards, refill_batches
from shared.contracts import PackJob
from shared.data.dataset import MAX_VALIDATION_ROWS, VALIDATION_SEQ_LEN, Dataset, Split, open_reference
from shared.data.rows import PACKING_VERSION, RowsRecord, open_rows, remembered_sha256, rows_file
from shared.files import atomic_writer
from shared.runs.directory import write_record

BUFFER_DOCUMENTS = 1000
# Rows between two reports of progress.
REPORT_ROWS = 512


def pack(batches: Iterator[list[Document]], row_tokens: int) -> Iterator[list[bytes]]:
    """Rows without end, each as the pieces it is made of: together exactly `row_tokens` tokens of two bytes.

    `batches` must not end, and must give at least the first `row_tokens` tokens of every document.
    """
    lengths: list[int] = []  # distinct lengths that wait, sorted
    waiting: dict[int, deque[bytes]] = {}  # documents of each of them, oldest first
    num_waiting = 0
    while True:
        row, room = [], row_tokens
        while room:
            while num_waiting < BUFFER_DOCUMENTS:
                batch = next(batches)
                num_waiting += len(batch)
                for length, document in batch:
                    if length in waiting:
                        waiting[length].append(document)
                    else:
                        waiting[length] = deque((document,))
                        insort(lengths, length)
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
    """One pass over the tokens; of the validation split no more than upstream evaluates."""
    rows = max(1, num_tokens // (seq_len + 1))
    return min(rows, MAX_VALIDATION_ROWS) if (split, seq_len) == ("validation", VALIDATION_SEQ_LEN) else rows


def pack_split(
    directory: Path, shards: list[CachedShard], split: Split, seq_len: int, dataset: str, report: Report
) -> None:
    """Writes rows-<seq_len> of one split unless it is there and sound."""
    path = rows_file(directory, seq_len)
    num_rows = num_rows_for(split, sum(shard.num_tokens for shard in shards), seq_len)
    if _reusable(path, split, num_rows, dataset, report):
        report.say(f"rows: {split} of {seq_len} reused")
        return
    rows = pack(refill_batches(directory, shards, seq_len + 1), seq_len + 1)
    digest = hashlib.sha256()
    with report.stage(f"rows: {split} of {seq_len}", num_rows, "rows") as advance, atomic_writer(path) as file:
        for start in range(0, num_rows, REPORT_ROWS):
            count = min(REPORT_ROWS, num_rows - start)
            chunk = b"".join(piece for _ in range(count) for piece in next(rows))
            digest.update(chunk)
            file.write(chunk)
            advance(count)
    record = RowsRecord(
        num_rows=num_rows,
        seq_len=seq_len,
        sha256=digest.hexdigest(),
        dataset=dataset,
        packing_version=PACKING_VERSION,
    )
    write_record(path.with_suffix(".json"), record)
    # Reads the file back once: what a disk swallowed shows here, and the first opening is quick.
    assert remembered_sha256(path) == record.sha256, f"{path} was not written as it was packed"
    report.say(f"rows: {split} of {seq_len} packed, {num_rows:,} rows")


def _reusable(path: Path, split: Split, num_rows: int, dataset: str, report: Report) -> bool:
    record_path = path.with_suffix(".json")
    if not record_path.exists():
        return False
    try:
        rows = open_rows(path, repair="", every_byte=split == "validation")
        record = RowsRecord.model_validate_json(record_path.read_bytes())
    except ValueError as error:
        report.say(f"rows: {str(error).removesuffix('; run: ')}: packing again")
        return False
    return (rows.num_rows, record.dataset, record.packing_version) == (num_rows, dataset, PACKING_VERSION)


def pack_dataset(job: PackJob, report: Report) -> Dataset:
    """Rows of one more length from the token cache. ValueError when that is missing or damaged."""
    dataset = open_reference(job.dataset)
    directory = dataset.split_path(job.split)
    num_shards = sum(shard.split == job.split for shard in dataset.manifest.shards)
    with writer_lock(dataset.path, directory, report=report):
        try:
            shards = cached_shards(directory, num_shards)
        except ValueError as error:
            raise ValueError(f"{error}; run: {dataset.repair}") from None
        pack_split(directory, shards, job.split, job.seq_len, dataset.manifest.fingerprint, report)
    return dataset
