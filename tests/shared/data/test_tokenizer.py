"""The tokenizer artifact: byte tables against tiktoken, fingerprint, damage."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.tokenizer import FILE_NAME, Tokenizer, load_tokenizer

PATTERN = r"\p{N}{1,2}|\p{L}+|\s+|[^\s\p{L}\p{N}]+"
MERGES = (b"ab", b"abc", "é".encode(), "日本".encode(), b"\x80\x81", b"a\xff", "🙂".encode()[:3], b"  ")
SPECIALS = ("<|reserved_0|>", "<|reserved_1|>")


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(PATTERN, (*(bytes([i]) for i in range(256)), *MERGES), SPECIALS)


@pytest.fixture
def directory(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    return tmp_path


def change(directory, **changes):
    path = directory / FILE_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_token_bytes_are_the_raw_bytes_and_specials_have_none(tokenizer):
    encoding, counts = tokenizer.encoding(), tokenizer.token_bytes()
    assert counts.dtype == np.int32
    raw = [len(encoding.decode_single_token_bytes(token)) for token in range(len(tokenizer.ranks))]
    assert counts.tolist() == [*raw, 0, 0]


def test_upstream_token_bytes_count_the_decoded_text_encoded_again(tokenizer):
    encoding = tokenizer.encoding()
    decoded = [encoding.decode([token]) for token in range(encoding.n_vocab)]
    expected = [0 if text in SPECIALS else len(text.encode()) for text in decoded]
    assert tokenizer.token_bytes_upstream().tolist() == expected
    assert expected != tokenizer.token_bytes().tolist()


def test_ids_of_specials_follow_the_merges_and_bos_is_the_first(tokenizer):
    encoding = tokenizer.encoding()
    assert encoding.n_vocab == tokenizer.vocab_size == 256 + len(MERGES) + 2
    assert encoding.encode_single_token(SPECIALS[0]) == tokenizer.bos == 256 + len(MERGES)


@settings(max_examples=50, deadline=None)
@given(text=st.text())
def test_text_comes_back_and_its_bytes_are_what_its_tokens_count(tokenizer, text):
    tokens = tokenizer.encoding().encode_ordinary(text)
    assert tokenizer.decode([tokenizer.bos, *tokens]) == text.encode()
    assert tokenizer.token_bytes()[tokens].sum() == len(text.encode())


def test_an_artifact_reads_back_equal(tokenizer, directory):
    again = load_tokenizer(directory)
    assert again == tokenizer
    assert again.fingerprint == tokenizer.fingerprint


def test_the_fingerprint_depends_on_everything_that_changes_tokens(tokenizer):
    others = [
        Tokenizer(PATTERN + "|x", tokenizer.ranks, SPECIALS),
        Tokenizer(PATTERN, tokenizer.ranks[::-1], SPECIALS),
        Tokenizer(PATTERN, tokenizer.ranks, SPECIALS[:1]),
    ]
    assert len({other.fingerprint for other in [tokenizer, *others]}) == 4


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\x80\x04\x95", b'{"pattern": 1, "ranks": ["*"]}'])
def test_a_file_that_is_no_artifact_is_refused(directory, content):
    (directory / FILE_NAME).write_bytes(content)
    with pytest.raises(ValueError, match=r"not a tokenizer artifact .*prepare again"):
        load_tokenizer(directory)


def test_a_missing_artifact_says_what_one_is(tmp_path):
    with pytest.raises(ValueError, match=r"is missing: a tokenizer artifact is a directory that holds tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_changed_artifact_does_not_match_its_fingerprint(directory):
    change(directory, pattern=".")
    with pytest.raises(ValueError, match="does not match its own fingerprint"):
        load_tokenizer(directory)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (Tokenizer(PATTERN, (b"a", b"a"), SPECIALS), "same bytes under two tokens"),
        (Tokenizer(PATTERN, (b"a", b"b"), ()), "no special token"),
        (Tokenizer(PATTERN, tuple(i.to_bytes(3) for i in range(2**16)), SPECIALS), "at most 65536 fit"),
    ],
)
def test_an_artifact_that_cannot_work_is_refused(tmp_path, changed, message):
    changed.save(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(tmp_path)


def test_counting_bytes_imports_no_tokenizer_library(directory):
    code = (
        "import sys, pathlib; from shared.data.tokenizer import load_tokenizer;"
        "import shared.data.dataset, shared.data.rows;"
        f"load_tokenizer(pathlib.Path({str(directory)!r})).token_bytes_upstream();"
        "print(sorted({'tiktoken', 'pyarrow', 'rustbpe', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
