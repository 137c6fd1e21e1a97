"""Packing against a scan of the buffer, and reading rows against making them on the fly; ratios from one run.

Not a test: it prints what it measured on this machine. Documents are made up, their lengths follow web
text; the two ways take turns.
Run: python -m benchmarks.packing
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from services.prepare.packing import pack
from services.prepare.stdlib import stdlib_corpus
from services.prepare.token_cache import REFILL_DOCUMENTS, Document
from services.prepare.tokenizer_training import PATTERN, SPECIALS
from shared.data.rows import Rows
from shared.data.tokenizer import Tokenizer

SEQ_LENS = (256, 512, 1024, 2048)
NUM_DOCUMENTS = 20_000
ROUNDS = 5
BATCH_ROWS = 16


def main() -> None:
    batches = _batches()
    lists = _lists(batches)
    mean = np.mean([length for batch in batches for length, _ in batch])
    print(f"{NUM_DOCUMENTS:,} documents of {mean:.0f} tokens on average\n")
    print("seq_len   scan Mtok/s   best fit Mtok/s   ratio")
    for seq_len in SEQ_LENS:
        scan_way, fast_way = scan_rows(cycle(lists), seq_len + 1), pack(cycle(batches), seq_len + 1)
        rounds = [
            (_tokens_per_second(scan_way, seq_len, _assemble_list), _tokens_per_second(fast_way, seq_len, b"".join))
            for _ in range(ROUNDS)
        ]
        scan, fast = np.median(rounds, axis=0)
        ratio = np.median([fast / scan for scan, fast in rounds])
        print(f"{seq_len:7} {scan / 1e6:13.2f} {fast / 1e6:17.1f} {ratio:7.0f}x")
    on_the_fly, reading = _loader_tokens_per_second(), _reading_tokens_per_second()
    print(f"\non-the-fly loader (encode, scan, copy) at 2048: {on_the_fly / 1e6:.2f} Mtok/s")
    print(f"rows read in batches of {BATCH_ROWS} at 2048: {reading / 1e6:.0f} Mtok/s, {reading / on_the_fly:.0f}x")


def scan_rows(batches: Iterator[list[list[int]]], row_tokens: int) -> Iterator[list[list[int]]]:
    """The packing rule as a plain scan over the waiting documents, one Python comparison each."""
    waiting: list[list[int]] = []
    while True:
        row, room = [], row_tokens
        while room:
            while len(waiting) < 1000:
                waiting.extend(next(batches))
            chosen, longest = -1, 0
            for place, document in enumerate(waiting):
                if longest < len(document) <= room:
                    chosen, longest = place, len(document)
            if chosen < 0:
                chosen = min(range(len(waiting)), key=lambda place: len(waiting[place]))
            row.append(waiting.pop(chosen)[:room])
            room -= len(row[-1])
        yield row


def _batches() -> list[list[Document]]:
    """Pre-tokenized documents: log-normal lengths, a long tail, random tokens."""
    random = np.random.default_rng(0)
    lengths = np.clip(random.lognormal(6.0, 1.0, NUM_DOCUMENTS), 8, 50_000).astype(int).tolist()
    documents = [(n, random.integers(0, 8192, n, dtype=np.uint16).tobytes()[: 2 * 2049]) for n in lengths]
    return [documents[i : i + REFILL_DOCUMENTS] for i in range(0, NUM_DOCUMENTS, REFILL_DOCUMENTS)]


def _lists(batches: list[list[Document]]) -> list[list[list[int]]]:
    """The same documents as lists of ints of their full length, as an encoder gives them."""
    return [[[*np.frombuffer(text, "<u2").tolist(), *[0] * (n - len(text) // 2)] for n, text in b] for b in batches]


def _assemble_list(row: list[list[int]]) -> np.ndarray:
    return np.concatenate([np.array(piece, dtype=np.int64) for piece in row])


def _tokens_per_second(rows: Iterator, seq_len: int, assemble: Callable, seconds: float = 0.5) -> float:
    """Per second of this process's own time, so that a busy machine disturbs less."""
    next(rows)  # fills the buffer
    started, count = time.process_time(), 0
    while time.process_time() - started < seconds:
        for row in islice(rows, 16):
            assemble(row)
        count += 16
    return count * (seq_len + 1) / (time.process_time() - started)


def _loader_tokens_per_second() -> float:
    """Upstream's way in outline: encode documents when the buffer wants them, scan, copy into a batch."""
    shard = stdlib_corpus().shards[0]
    texts = [text for _, group in shard.documents() for text in group]
    encoding = _byte_pair_tokenizer(texts).encoding()
    batches = (texts[i : i + REFILL_DOCUMENTS] for i in cycle(range(0, len(texts), REFILL_DOCUMENTS)))
    encoded = ([[0, *encoding.encode_ordinary(text)] for text in batch] for batch in batches)
    return _tokens_per_second(scan_rows(encoded, 2049), 2048, _assemble_list, seconds=5.0)


def _byte_pair_tokenizer(texts: list[str]) -> Tokenizer:
    import rustbpe

    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), 8188, pattern=PATTERN)
    ranks = sorted(trainer.get_mergeable_ranks(), key=lambda pair: pair[1])
    return Tokenizer(trainer.get_pattern(), tuple(bytes(token) for token, _ in ranks), SPECIALS)


def _reading_tokens_per_second() -> float:
    num_rows = 16_384
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.u16"
        np.random.default_rng(0).integers(0, 8192, (num_rows, 2049), dtype=np.uint16).tofile(path)
        with open(path, "rb") as file:
            rows = Rows.from_descriptor(file.fileno(), num_rows, 2048)
        started = time.process_time()
        for start in range(0, 4 * num_rows, BATCH_ROWS):
            rows.read(start, BATCH_ROWS)
        return 4 * num_rows * 2049 / (time.process_time() - started)


if __name__ == "__main__":
    main()
