"""Packing against the rule written down plainly, token for token."""

from itertools import cycle, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.prepare.packing import num_rows_for, pack
from services.prepare.parquet import read_documents
from services.prepare.token_cache import Document

BUFFER, BATCH = 1000, 128


def upstream_rows(row_groups, row_tokens):
    """karpathy/autoresearch's rule: documents are lists of tokens, row_groups are lists of documents, repeated."""

    def batches():
        for group in cycle(row_groups):
            for i in range(0, len(group), BATCH):
                yield group[i : i + BATCH]

    source, buffer = batches(), []
    while True:
        row = []
        while len(row) < row_tokens:
            while len(buffer) < BUFFER:
                buffer += next(source)
            room = row_tokens - len(row)
            fitting = [i for i in range(len(buffer)) if len(buffer[i]) <= room]
            if fitting:
                best = max(fitting, key=lambda i: (len(buffer[i]), -i))
                row += buffer.pop(best)
            else:
                shortest = min(range(len(buffer)), key=lambda i: (len(buffer[i]), i))
                row += buffer.pop(shortest)[:room]
        yield row


def best_fit_rows(row_groups, row_tokens):
    def documents() -> list[list[Document]]:
        for group in cycle(row_groups):
            for i in range(0, len(group), BATCH):
                yield [(len(d), np.array(d[:row_tokens], "<u2").tobytes()) for d in group[i : i + BATCH]]

    for pieces in pack(documents(), row_tokens):
        yield np.frombuffer(b"".join(pieces), "<u2").tolist()


def make_row_groups(seed, group_sizes, mean):
    """Documents that can be told apart: tokens count up over the corpus, the first of each is 0 (BOS)."""
    random = np.random.default_rng(seed)
    count = iter(range(1, 10**9))
    lengths = (random.geometric(1 / mean, size).tolist() for size in group_sizes)
    return [[[0, *(next(count) % 65535 + 1 for _ in range(n - 1))] for n in group] for group in lengths]


@pytest.mark.parametrize("row_tokens", [2, 17, 129, 2049])
@pytest.mark.parametrize(
    ("group_sizes", "mean"), [([1500], 30), ([300, 7, 129, 1, 700], 60), ([13], 20), ([1], 5), ([128, 256], 400)]
)
def test_rows_are_those_of_upstream_for_any_length_and_corpus(row_tokens, group_sizes, mean):
    groups = make_row_groups(row_tokens, group_sizes, mean)
    num_tokens = sum(len(document) for group in groups for document in group)
    num_rows = min(3 * num_tokens // row_tokens, 40_000 // row_tokens, 2000) + 2  # several epochs where that is quick
    expected = list(islice(upstream_rows(groups, row_tokens), num_rows))
    assert list(islice(best_fit_rows(groups, row_tokens), num_rows)) == expected


@settings(max_examples=15, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=300), min_size=1, max_size=4),
    row_tokens=st.integers(2, 45),
)
def test_rows_are_those_of_upstream_for_documents_of_any_lengths(lengths, row_tokens):
    count = iter(range(10**9))
    groups = [[[next(count) % 65536 for _ in range(n)] for n in group] for group in lengths]
    expected = list(islice(upstream_rows(groups, row_tokens), 60))
    assert list(islice(best_fit_rows(groups, row_tokens), 60)) == expected


@pytest.mark.parametrize(("split", "seq_len"), [("train", 16), ("train", 33), ("validation", 2048)])
def test_climbmix_holds_the_rows_upstream_would_make_of_its_files(climbmix, corpus_directory, split, seq_len):
    names = ["a.parquet", "b/c.parquet"] if split == "train" else ["d.parquet"]
    encoding, bos = climbmix.tokenizer.encoding(), climbmix.tokenizer.bos
    groups = []
    for name in names:
        by_group: dict[int, list] = {}
        for group, texts in read_documents(corpus_directory / name, "text", 0, 10**9):
            by_group.setdefault(group, []).extend([bos, *encoding.encode_ordinary(text)] for text in texts)
        groups += by_group.values()
    rows = climbmix.rows(split, seq_len)
    num_tokens = sum(len(document) for group in groups for document in group)
    assert rows.num_rows == max(1, num_tokens // (seq_len + 1))
    checked = min(rows.num_rows, 400)
    assert rows.read(0, checked).tolist() == list(islice(upstream_rows(groups, seq_len + 1), checked))


def test_every_row_starts_with_bos(prepared):
    rows = prepared.rows("train", 33)
    assert (rows.tokens[:, 0] == prepared.tokenizer.bos).all()


def test_only_validation_rows_are_capped_at_what_upstream_evaluates():
    assert num_rows_for("validation", 10**12, 2048) * 2048 == 40 * 524_288
    assert num_rows_for("train", 2049 * 20_000, 2048) == 20_000
    assert num_rows_for("validation", 5, 2048) == num_rows_for("train", 5, 2048) == 1


def finite(documents, row_tokens):
    """One pass: rows of a list of documents, each as its pieces."""
    batches = ([(len(d), np.array(d, "<u2").tobytes()) for d in documents[i : i + 128]] for i in range(0, 10**4, 128))
    return list(pack(iter([batch for batch in batches if batch]), row_tokens))


@settings(max_examples=50, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), max_size=2000), row_tokens=st.integers(40, 45))
def test_one_pass_places_no_document_twice_and_ends_when_they_fill_no_row(lengths, row_tokens):
    count = iter(range(10**9))
    documents = [[next(count) % 65536 for _ in range(n)] for n in lengths]
    rows = finite(documents, row_tokens)
    assert all(sum(map(len, row)) == 2 * row_tokens for row in rows)
    firsts = [piece[:2] for row in rows for piece in row]
    assert len(firsts) == len(set(firsts)) <= len(documents)
    assert len(rows) * row_tokens <= sum(lengths)
