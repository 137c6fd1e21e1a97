"""Tokenizes the documents of a corpus, every one once, in processes. Bounded: a few chunks of text are in flight.

The parent reads and writes, the processes only encode, so files come out the same whatever their number.
"""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from services.prepare.corpora import CorpusShard
from services.prepare.report import Advance, Report
from services.prepare.token_cache import CachedShard, read_cached, record_file, shard_writer
from shared.data.tokenizer import Tokenizer

CHUNK_CHARS = 2**19
# A process takes a second to start: that is worth it from this much text on.
BYTES_PER_PROCESS = 2**23
# The encoder's backtracking limit is reached by a run of about a million blanks; a piece of this size never does.
PIECE_CHARS = 100_000

# (tokens as uint16 bytes, document lengths as uint32 bytes)
Encoded = tuple[bytes, bytes]
Submit = Callable[[list[str]], Future]


def tokenize(
    shards: list[CorpusShard], directory: Path, tokenizer: Tokenizer, workers: int, report: Report
) -> list[CachedShard]:
    """The token cache of one split in `directory`; what is there and matches is kept."""
    directory.mkdir(parents=True, exist_ok=True)
    done = [_reusable(shard, directory, index, tokenizer, report) for index, shard in enumerate(shards)]
    missing = [(index, shard) for index, shard in enumerate(shards) if done[index] is None]
    if len(missing) < len(shards):
        report.say(f"tokens: {directory.name}: {len(shards) - len(missing)} of {len(shards)} shards reused")
    if missing:
        _tokenize_missing(missing, directory, tokenizer, workers, report)
    return [cached or read_cached(directory, index) for index, cached in enumerate(done)]


def _tokenize_missing(
    missing: list[tuple[int, CorpusShard]], directory: Path, tokenizer: Tokenizer, workers: int, report: Report
) -> None:
    total = sum(shard.num_documents for _, shard in missing)
    processes = _num_processes(workers, sum(shard.shard.num_bytes for _, shard in missing))
    title = f"tokens: {directory.name}"
    with report.stage(title, total, "documents") as advance, _encoders(tokenizer, processes) as submit:
        for index, shard in missing:
            with shard_writer(directory, index, shard.shard, tokenizer.fingerprint) as writer:
                for group, (tokens, lengths) in _encoded(shard, submit, 2 * processes, advance):
                    writer.add(group, tokens, lengths)


def _reusable(
    shard: CorpusShard, directory: Path, index: int, tokenizer: Tokenizer, report: Report
) -> CachedShard | None:
    if not record_file(directory, index).exists():
        return None
    try:
        cached = read_cached(directory, index)
    except ValueError as error:
        report.say(f"tokens: {error}: tokenizing the shard again")
        return None
    return cached if (cached.shard, cached.tokenizer) == (shard.shard, tokenizer.fingerprint) else None


def _encoded(shard: CorpusShard, submit: Submit, max_in_flight: int, advance: Advance) -> Iterator[tuple[int, Encoded]]:
    """Results in the order of the documents, with at most `max_in_flight` chunks waiting."""
    in_flight: deque[tuple[int, int, Future]] = deque()
    for group, texts in _chunks(shard):
        in_flight.append((group, len(texts), submit(texts)))
        if len(in_flight) > max_in_flight:
            yield _finished(in_flight, advance)
    while in_flight:
        yield _finished(in_flight, advance)


def _finished(in_flight: deque[tuple[int, int, Future]], advance: Advance) -> tuple[int, Encoded]:
    group, num_documents, future = in_flight.popleft()
    result = future.result()
    advance(num_documents)
    return group, result


def _chunks(shard: CorpusShard) -> Iterator[tuple[int, list[str]]]:
    for group, documents in shard.documents():
        chunk, num_chars = [], 0
        for document in documents:
            chunk.append(document)
            num_chars += len(document)
            if num_chars >= CHUNK_CHARS:
                yield group, chunk
                chunk, num_chars = [], 0
        if chunk:
            yield group, chunk


def _num_processes(workers: int, num_bytes: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(workers or cores, num_bytes // BYTES_PER_PROCESS))


@contextmanager
def _encoders(tokenizer: Tokenizer, processes: int) -> Iterator[Submit]:
    if processes == 1:
        yield partial(_encode_here, _Encoder(tokenizer))
        return
    spawn = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(processes, spawn, _start, (tokenizer,)) as pool:
            yield lambda texts: pool.submit(_encode_there, texts)
    except BrokenProcessPool:
        raise ValueError(
            "a tokenizing process was killed, probably for want of memory: prepare again with fewer `workers`"
        ) from None


def _encode_here(encoder: "_Encoder", texts: list[str]) -> Future:
    future: Future = Future()
    future.set_result(encoder(texts))
    return future


class _Encoder:
    def __init__(self, tokenizer: Tokenizer) -> None:
        self._bos = np.array([tokenizer.bos], dtype="<u2")
        self._encoding = tokenizer.encoding()

    def __call__(self, texts: list[str]) -> Encoded:
        documents = [np.concatenate([self._bos, *self._tokens(text)]) for text in texts]
        lengths = np.array([len(document) for document in documents], dtype="<u4")
        return np.concatenate(documents).tobytes(), lengths.tobytes()

    def _tokens(self, text: str) -> list[np.ndarray]:
        # Names of special tokens in a document are ordinary text: a corpus cannot forge a BOS.
        try:
            return [self._encoding.encode_to_numpy(text, disallowed_special=()).astype("<u2")]
        except ValueError:
            pieces = (text[i : i + PIECE_CHARS] for i in range(0, len(text), PIECE_CHARS))
            return [self._encoding.encode_to_numpy(piece, disallowed_special=()).astype("<u2") for piece in pieces]


_encoder: _Encoder | None = None


def _start(tokenizer: Tokenizer) -> None:
    """In every encoding process: get ready, and end when the parent does, however it ended."""
    global _encoder
    _encoder = _Encoder(tokenizer)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encode_there(texts: list[str]) -> Encoded:
    assert _encoder is not None
    return _encoder(texts)
