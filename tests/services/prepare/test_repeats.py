"""Validation text that repeats training text: counted exactly, removed where it should be, said always."""

import os
import re
from itertools import pairwise

import numpy as np
import pytest

from services.prepare import repeats
from services.prepare.pieces import piece_batches
from services.prepare.pipeline import prepare
from services.prepare.runs import RunSet, run_numbers, short_numbers
from services.prepare.token_cache import cached_shards, shard_writer
from shared.contracts import PrepareJob
from shared.data.dataset import RUN_TOKENS, Shard, kept_directory
from tests.services.prepare.tiny_corpus import make_documents, write_parquet

BOS = 9


def write_cache(directory, documents, split="validation"):
    """A token cache of documents without their BOS."""
    directory.mkdir(parents=True)
    shard = Shard(name="a", split=split, num_bytes=1, sha256="0" * 64)
    with shard_writer(directory, 0, shard, "1" * 64) as writer:
        for document in documents:
            tokens = np.array([BOS, *document], dtype="<u2")
            writer.add(0, tokens.tobytes(), np.array([len(tokens)], dtype="<u4").tobytes())
    return directory, cached_shards(directory, 1)


def random_tokens(seed, *sizes, kinds=5000):
    random = np.random.default_rng(seed)
    return [(random.integers(10, 10 + kinds, size)).tolist() for size in sizes]


def plain_share(training, validation):
    """The measure written down: runs of pieces of 2048 tokens, a shorter piece is one run."""

    def runs(document):
        return [tuple(document[i : i + RUN_TOKENS]) for i in range(max(1, len(document) - RUN_TOKENS + 1))]

    known = {run for document in training for run in runs(document)}
    pieces = [document[i : i + 2048] for document in validation for i in range(0, len(document), 2048)]
    return [np.mean([run in known for run in runs(piece)]) for piece in pieces], pieces


def kept_pieces(directory):
    cached = kept_directory(directory)
    batches = piece_batches(cached, cached_shards(cached, 1), 2049)
    return [np.frombuffer(piece, "<u2").tolist()[1:] for batch in batches for _, piece in batch]


def compare(tmp_path, training, validation, report, corpus="parquet:text"):
    found = write_cache(tmp_path / "validation", validation)
    return repeats.examine(corpus, write_cache(tmp_path / "train", training, "train"), found, report)


def mixed_documents():
    """Training, and validation whose documents share none, some or all of it, in every place."""
    training = random_tokens(0, 5000, 40, 33, 32, 31, 3, 700, 6000)
    fresh = random_tokens(1, 900, 300, 31, 5, 5000, 200, 1000)
    shared = [
        training[0][100:400], training[7][2000:5000] + fresh[0], fresh[1] + training[6][:40], training[3], training[4],
        training[5], training[1][:31], fresh[2], fresh[3], fresh[4][:4000] + training[0][4000:], fresh[5], fresh[6],
    ]  # fmt: skip
    return training, shared


@pytest.mark.parametrize("chunk_tokens", [64, 1000, 2**17])
def test_pieces_stay_or_go_by_the_measure_as_it_is_written_down(tmp_path, report, monkeypatch, chunk_tokens):
    monkeypatch.setattr(repeats, "CHUNK_TOKENS", chunk_tokens)
    training, validation = mixed_documents()
    shares, pieces = plain_share(training, validation)
    found = compare(tmp_path, training, validation, report)
    expected = [piece for share, piece in zip(shares, pieces, strict=True) if share <= 0.2]
    assert kept_pieces(tmp_path / "validation") == expected
    assert found.removed_pieces == len(pieces) - len(expected) > 3
    runs = [max(1, len(piece) - RUN_TOKENS + 1) for piece in pieces]
    assert found.share == pytest.approx(np.average(shares, weights=runs))


def test_pieces_that_come_twice_are_kept_once(tmp_path, report):
    document, other = random_tokens(2, 500, 10)
    found = compare(tmp_path, random_tokens(3, 900), [document, other, document, other, document[:499]], report)
    assert kept_pieces(tmp_path / "validation") == [document, other, document[:499]]
    assert (found.same_pieces, found.same_tokens, found.removed_pieces) == (2, 512, 0)


def test_of_much_text_some_runs_are_looked_up_and_that_is_said(tmp_path, report, monkeypatch):
    monkeypatch.setattr(repeats, "MOST_RUNS", 1000)
    training = random_tokens(4, *[3000] * 10)
    validation = [*training[:3], *random_tokens(5, *[3000] * 7)]
    found = compare(tmp_path, training, validation, report)
    assert found.one_run_in == 32
    assert found.share == pytest.approx(0.3, abs=0.06)
    assert found.removed_pieces == 6
    assert "one run in 32 looked up" in report.text


@pytest.mark.parametrize(("corpus", "keeps_same"), [("climbmix", True), ("stdlib", False)])
def test_other_corpora_keep_near_repeats_and_say_how_much_it_is(tmp_path, report, corpus, keeps_same):
    training, validation = mixed_documents()
    found = compare(tmp_path, training, [*validation, validation[0]], report, corpus)
    assert found.removed_pieces == 0
    assert f"{found.share:.1%} of the 32-token runs" in report.text
    assert kept_directory(tmp_path / "validation").exists() is not keeps_same


def test_a_second_examination_reuses_the_first_until_a_token_changes(tmp_path, report, monkeypatch):
    training, validation = write_cache(tmp_path / "t", random_tokens(6, 900), "train"), random_tokens(7, 3000)
    found = write_cache(tmp_path / "v", validation)
    first = repeats.examine("parquet:text", training, found, report)
    with monkeypatch.context() as patch:
        patch.setattr(repeats, "_compared", lambda *_: pytest.fail("compared again"))
        assert repeats.examine("parquet:text", training, found, report) == first
    other = write_cache(tmp_path / "t2", random_tokens(7, 3000), "train")
    with pytest.raises(ValueError, match="nearly repeats training text: put other documents into the last file"):
        repeats.examine("parquet:text", other, found, report)
    repeats.examine("parquet:text", training, found, report)
    os.truncate(kept_directory(tmp_path / "v") / "00000.u16", 4)
    assert repeats.examine("parquet:text", training, found, report) == first
    assert kept_pieces(tmp_path / "v") == [validation[0][:2048], validation[0][2048:]]


def test_a_set_of_runs_finds_all_of_its_own_and_nothing_else():
    numbers = np.random.default_rng(0).integers(0, 2**64, 30_000, dtype=np.uint64)
    runs = RunSet(numbers[:20_000])
    runs.meet(numbers[15_000:])
    assert runs.was_met(numbers[:20_000]).tolist() == [False] * 15_000 + [True] * 5_000
    RunSet(numbers[:0]).meet(numbers)


def test_a_run_has_the_same_number_wherever_it_stands_and_a_short_document_has_its_own():
    tokens = np.array(random_tokens(8, 200)[0], dtype="<u2")
    numbers = run_numbers(tokens)
    assert len(numbers) == 169
    assert (run_numbers(tokens[7:90]) == numbers[7:59]).all()
    assert len(run_numbers(tokens[:31])) == 0
    lengths = np.array([5, 5, 6])
    first, again, longer = short_numbers(np.concatenate([tokens[:5]] * 4), np.array([0, 5, 10]), lengths)
    assert first == again != longer


def test_near_repeats_never_reach_a_row_and_the_manifest_says_how_many(home, report, tmp_path):
    training, fresh = make_documents(300, 1, mean_words=80), make_documents(150, 2, mean_words=80)
    write_parquet(tmp_path / "x" / "a.parquet", training)
    write_parquet(tmp_path / "x" / "b.parquet", [*training[:100], *fresh, *fresh[:20]])
    dataset = prepare(PrepareJob(corpus=f"parquet:{tmp_path / 'x'}", seq_lens=(64,), workers=1), report)
    found = dataset.manifest.repeats
    assert 90 < found.removed_pieces <= 100
    assert 15 < found.same_pieces <= 20
    assert found.remaining_share == 0
    rows = dataset.validation_rows().tokens
    bos = dataset.tokenizer.bos
    pieces = [tuple(piece) for row in rows.tolist() for piece in split_at(row, bos) if len(piece) > 10]
    assert len(pieces) == len(set(pieces))
    assert f"removed {found.removed_pieces} of {found.num_pieces} validation pieces" in report.text


def split_at(row, bos):
    starts = [i for i, token in enumerate(row) if token == bos] + [len(row)]
    return [row[start + 1 : end] for start, end in pairwise(starts)]


def test_a_document_of_any_length_is_read_to_its_end(home, report, tmp_path):
    book = " ".join(make_documents(1, 3, mean_words=1) + make_documents(400, 4, mean_words=200))
    write_parquet(tmp_path / "x" / "a.parquet", [book])
    write_parquet(tmp_path / "x" / "b.parquet", [" ".join(make_documents(100, 5, mean_words=200))])
    prepare(PrepareJob(corpus=f"parquet:{tmp_path / 'x'}", seq_lens=(64, 2048), workers=1), report)
    shares = [float(share) for share in re.findall(r"([\d.]+)% of the text is in them", report.text)]
    assert len(shares) == 3
    assert min(shares) > 90


def test_validation_text_that_fills_no_row_is_refused_with_what_to_do(home, report, tmp_path):
    write_parquet(tmp_path / "x" / "a.parquet", make_documents(300, 1))
    write_parquet(tmp_path / "x" / "b.parquet", make_documents(3, 2))
    with pytest.raises(ValueError, match=r"a row needs 2,049 of them: put more text into the last file"):
        prepare(PrepareJob(corpus=f"parquet:{tmp_path / 'x'}", seq_lens=(64,), workers=1), report)
