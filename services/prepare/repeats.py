"""Validation text that the training text holds too: how much of it there is, and a cache of what is left without it.

The measure: of a piece's runs of 32 consecutive tokens, the share that also occurs in the training text. A piece whose
share is above LARGEST_REPEATED_SHARE nearly repeats it. Two passes over the validation tokens, one over training's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from services.prepare.pieces import piece_batches
from services.prepare.report import Report
from services.prepare.runs import RunSet, run_numbers, sampled, short_numbers
from services.prepare.token_cache import (
    CachedShard,
    Document,
    lengths_file,
    read_cached,
    shard_writer,
    tokens_file,
)
from shared.contracts import Contract, Sha256
from shared.data.dataset import (
    LARGEST_REPEATED_SHARE,
    RUN_TOKENS,
    VALIDATION_SEQ_LEN,
    Repeats,
    keeps_upstream_rows,
    kept_directory,
    removes_repeats,
)
from shared.runs.directory import read_record, write_record

CHUNK_TOKENS = 2**17
MOST_RUNS = 2**22
"""of validation text kept in memory, 50 MB: of more text one run in 2, 4, 8, ... is looked up"""
MOST_MEASURED_TOKENS = 10**9
"""of training text that is looked through where the share is only said"""


class Examination(Contract):
    """repeats.json beside the validation tokens: what was compared, and what came out. Reused when all is the same."""

    run_tokens: int = RUN_TOKENS
    largest_share: float | None
    training: tuple[Sha256, ...]
    validation: tuple[Sha256, ...]
    repeats: Repeats


@dataclass
class Tally:
    """Pieces of the validation text, and what became of them."""

    pieces: int = 0
    tokens: int = 0
    runs: int = 0
    repeated_runs: int = 0
    near_pieces: int = 0
    near_tokens: int = 0
    same_pieces: int = 0
    same_tokens: int = 0
    kept_runs: int = 0
    kept_repeated_runs: int = 0
    seen: set[bytes] = field(default_factory=set)

    def repeats(self, one_in: int, training_tokens: int) -> Repeats:
        return Repeats(
            num_pieces=self.pieces,
            num_tokens=self.tokens,
            one_run_in=one_in,
            training_tokens=training_tokens,
            share=self.repeated_runs / max(1, self.runs),
            removed_pieces=self.near_pieces,
            removed_tokens=self.near_tokens,
            same_pieces=self.same_pieces,
            same_tokens=self.same_tokens,
            remaining_share=self.kept_repeated_runs / max(1, self.kept_runs),
        )


def examine(
    corpus: str,
    training: tuple[Path, list[CachedShard]],
    validation: tuple[Path, list[CachedShard]],
    report: Report,
) -> Repeats:
    """Compares the splits; writes the cache of what is left unless the rows are upstream's. ValueError: nothing is."""
    directory, shards = validation
    largest = LARGEST_REPEATED_SHARE if removes_repeats(corpus) else None
    facts: dict[str, Any] = {
        "largest_share": largest,
        "training": tuple(shard.tokens_sha256 for shard in training[1]),
        "validation": tuple(shard.tokens_sha256 for shard in shards),
    }
    kept = None if keeps_upstream_rows(corpus) else kept_directory(directory)
    repeats = _reusable(directory, facts, kept, len(shards))
    if repeats is None:
        repeats = _compared(training, validation, kept, largest, report)
        write_record(directory / "repeats.json", Examination(**facts, repeats=repeats))
    report.say(describe(repeats, kept is not None, largest is not None))
    if repeats.num_pieces == repeats.removed_pieces + repeats.same_pieces:
        raise ValueError(
            f"all of the validation text of {corpus} nearly repeats training text: put other documents into the last "
            "file, or into the last 5 % of the rows of a single one"
        )
    return repeats


def _reusable(directory: Path, facts: dict, kept: Path | None, num_shards: int) -> Repeats | None:
    try:
        found = read_record(directory / "repeats.json", Examination)
        if kept is not None:
            for index in range(num_shards):
                read_cached(kept, index)
    except ValueError:
        return None
    return found.repeats if found == Examination(**facts, repeats=found.repeats) else None


def _compared(
    training: tuple[Path, list[CachedShard]],
    validation: tuple[Path, list[CachedShard]],
    kept: Path | None,
    largest: float | None,
    report: Report,
) -> Repeats:
    directory, shards = validation
    num_tokens = sum(shard.num_tokens for shard in shards)
    one_in = 1 << max(0, (num_tokens - 1) // MOST_RUNS).bit_length()
    runs = RunSet(_validation_runs(directory, shards, one_in))
    limit = MOST_MEASURED_TOKENS if kept is None else None
    compared = _meet_training(runs, *training, one_in, limit, report)
    tally = Tally()
    for index, shard in enumerate(shards):
        pieces = _tallied(directory, index, shard, runs, one_in, largest, tally)
        if kept is None:
            for _ in pieces:
                pass
        else:
            _write(kept, index, shard, pieces)
    return tally.repeats(one_in, compared)


def _validation_runs(directory: Path, shards: list[CachedShard], one_in: int) -> np.ndarray:
    batches = piece_batches(directory, shards, VALIDATION_SEQ_LEN + 1)
    return np.concatenate([np.empty(0, dtype=np.uint64), *(_runs_of(batch, one_in)[1] for batch in batches)])


def _runs_of(batch: list[Document], one_in: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of the piece [runs] and number of the run [runs], of all runs that cross no piece's border."""
    tokens = np.frombuffer(b"".join(piece for _, piece in batch), dtype="<u2")
    lengths = np.array([length for length, _ in batch])
    starts = np.cumsum(lengths) - lengths
    counts = np.maximum(lengths - RUN_TOKENS, 0)
    owners = np.repeat(np.arange(len(batch)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers = run_numbers(tokens)[np.repeat(starts + 1, counts) + within]
    chosen = slice(None) if one_in == 1 else numbers & np.uint64(one_in - 1) == 0
    short = np.flatnonzero(counts == 0)
    whole = short_numbers(tokens, starts[short], lengths[short])
    return np.concatenate([owners[chosen], short]), np.concatenate([numbers[chosen], whole])


def _meet_training(
    runs: RunSet, directory: Path, shards: list[CachedShard], one_in: int, limit: int | None, report: Report
) -> int:
    """Marks the runs that training text holds. Returns how many of its tokens were looked through."""
    total = sum(shard.num_tokens for shard in shards)
    total, done = min(total, limit or total), 0
    with report.stage("repeats: training text", total, "tokens") as advance:
        for index, _ in enumerate(shards):
            for count, numbers in _training_runs(directory, index, one_in):
                runs.meet(numbers)
                advance(count)
                done += count
                if limit and done >= limit:
                    return done
    return done


def _training_runs(directory: Path, index: int, one_in: int) -> Iterator[tuple[int, np.ndarray]]:
    """Runs of one shard with the number of tokens they start in. Those that cross a BOS match no piece's run."""
    lengths = np.fromfile(lengths_file(directory, index), dtype="<u4")
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    is_short = lengths <= RUN_TOKENS
    starts, lengths = starts[is_short], lengths[is_short]
    with open(tokens_file(directory, index), "rb", buffering=0) as file:
        first = 0
        while len(tokens := _read(file, first, CHUNK_TOKENS + RUN_TOKENS - 1)):
            count = min(CHUNK_TOKENS, len(tokens))
            here = slice(*np.searchsorted(starts, [first, first + count]))
            whole = short_numbers(tokens, starts[here] - first, lengths[here])
            yield count, np.concatenate([sampled(run_numbers(tokens), one_in), whole])
            first += count


def _read(file: BinaryIO, first: int, count: int) -> np.ndarray:
    file.seek(2 * first)
    return np.fromfile(file, dtype="<u2", count=count)


def _tallied(
    directory: Path, index: int, shard: CachedShard, runs: RunSet, one_in: int, largest: float | None, tally: Tally
) -> Iterator[bytes]:
    """The pieces of a shard that stay: no near repeat of training text, and none that came before."""
    for batch in piece_batches(directory, [shard], VALIDATION_SEQ_LEN + 1, first=index):
        owners, numbers = _runs_of(batch, one_in)
        num_runs = np.bincount(owners, minlength=len(batch))
        num_met = np.bincount(owners[runs.was_met(numbers)], minlength=len(batch))
        for (length, piece), count, met in zip(batch, num_runs.tolist(), num_met.tolist(), strict=True):
            if _stays(tally, length, piece, count, met, largest):
                yield piece


def _stays(tally: Tally, length: int, piece: bytes, num_runs: int, num_met: int, largest: float | None) -> bool:
    tally.pieces += 1
    tally.tokens += length
    tally.runs += num_runs
    tally.repeated_runs += num_met
    if largest is not None and num_met > largest * num_runs:
        tally.near_pieces += 1
        tally.near_tokens += length
        return False
    digest = blake2b(piece, digest_size=16).digest()
    if digest in tally.seen:
        tally.same_pieces += 1
        tally.same_tokens += length
        return False
    tally.seen.add(digest)
    tally.kept_runs += num_runs
    tally.kept_repeated_runs += num_met
    return True


def _write(kept: Path, index: int, shard: CachedShard, pieces: Iterator[bytes]) -> None:
    """A token cache whose documents are the pieces."""
    kept.mkdir(exist_ok=True)
    with shard_writer(kept, index, shard.shard, shard.tokenizer) as writer:
        for piece in pieces:
            writer.add(0, piece, np.array([len(piece) // 2], dtype="<u4").tobytes())


def describe(repeats: Repeats, without_same: bool, without_near: bool) -> str:
    """One line for the person who waits."""
    sample = "" if repeats.one_run_in == 1 else f", one run in {repeats.one_run_in} looked up"
    said = (
        f"repeats: {repeats.share:.1%} of the {RUN_TOKENS}-token runs of the validation text also occur in "
        f"{repeats.training_tokens:,} tokens of training text{sample}"
    )
    if without_near:
        said += (
            f"; removed {repeats.removed_pieces:,} of {repeats.num_pieces:,} validation pieces "
            f"({repeats.removed_tokens / repeats.num_tokens:.1%} of the tokens) of whose runs more than "
            f"{LARGEST_REPEATED_SHARE:.0%} occur there, {repeats.remaining_share:.1%} are left"
        )
    if without_same:
        said += f"; {repeats.same_pieces:,} pieces that repeat an earlier validation piece removed"
    return said
