"""Finding and opening prepared datasets, built here by hand."""

import json

import numpy as np
import pytest

from shared.contracts import DatasetRef, PrepareJob, Rung
from shared.data.dataset import (
    MAX_VALIDATION_ROWS,
    VALIDATION_SEQ_LEN,
    Manifest,
    Shard,
    SplitCounts,
    dataset_fingerprint,
    default_dataset,
    open_dataset,
    open_reference,
)
from shared.data.rows import RowsRecord, rows_file
from shared.data.tokenizer import Tokenizer
from shared.evaluation.rungs import EVAL_SEQ_LEN, RUNG_TOKENS
from shared.files import sha256_bytes, write_atomic
from shared.settings import settings

TOKENIZER = Tokenizer(".", (b"a", b"b"), ("<|reserved_0|>",))
SHARDS = (
    Shard(name="t", split="train", num_bytes=1, sha256="1" * 64),
    Shard(name="v", split="validation", num_bytes=1, sha256="2" * 64),
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def make_rows(directory, seq_len, fingerprint):
    directory.mkdir(parents=True, exist_ok=True)
    content = np.arange(3 * (seq_len + 1)).astype("<u2").tobytes()
    path = rows_file(directory, seq_len)
    path.write_bytes(content)
    record = RowsRecord(
        num_rows=3, seq_len=seq_len, sha256=sha256_bytes(content), dataset=fingerprint, packing_version=1
    )
    write_atomic(path.with_suffix(".json"), record.model_dump_json())
    return path


def make_dataset(home, name="words", prepared_at=1.0):
    path = home / "datasets" / name
    path.mkdir(parents=True)
    TOKENIZER.save(path)
    fingerprint = dataset_fingerprint(name, SHARDS, TOKENIZER.fingerprint, 1)
    manifest = Manifest(
        name=name,
        corpus=name,
        shards=SHARDS,
        tokenizer=TOKENIZER.fingerprint,
        vocab_size=3,
        packing_version=1,
        train=SplitCounts(num_documents=1, num_tokens=1),
        validation=SplitCounts(num_documents=1, num_tokens=1),
        fingerprint=fingerprint,
        job=PrepareJob(corpus="parquet:/some where"),
        prepared_at=prepared_at,
    )
    make_rows(path / "train", 8, fingerprint)
    make_rows(home / "validation" / name, 2048, fingerprint)
    write_atomic(path / "dataset.json", manifest.model_dump_json())
    return path


def test_a_dataset_gives_its_rows_and_its_tokenizer(home):
    make_dataset(home)
    dataset = open_dataset("words")
    assert dataset.tokenizer == TOKENIZER
    assert dataset.vocab_size == 3
    assert dataset.has_rows("train", 8)
    assert dataset.rows("train", 8).read(0, 1).shape == (1, 9)
    assert dataset.validation_rows().seq_len == 2048


def test_a_missing_dataset_says_how_to_prepare_one():
    with pytest.raises(ValueError, match="autoresearch prepare --corpus stdlib"):
        open_dataset("words")
    with pytest.raises(ValueError, match="autoresearch prepare --corpus stdlib"):
        default_dataset()


def test_rows_of_another_length_are_not_there_and_the_error_says_how_to_pack_them(home):
    make_dataset(home)
    dataset = open_dataset("words")
    assert not dataset.has_rows("train", 9)
    with pytest.raises(ValueError, match=r"run: python -m services\.prepare .*\"seq_len\":9"):
        dataset.rows("train", 9)


def test_without_its_directory_validation_is_simply_not_there(home):
    make_dataset(home)
    (home / "validation").rename(home / "elsewhere")
    dataset = open_dataset("words")
    assert dataset.has_rows("train", 8)
    assert not dataset.has_rows("validation", 2048)
    with pytest.raises(ValueError, match="is not there"):
        dataset.validation_rows()


def test_a_reference_opens_only_the_dataset_it_names(home):
    make_dataset(home)
    ref = open_dataset("words").ref
    assert open_reference(ref).ref == ref
    with pytest.raises(ValueError, match="the job wants ffffffffffff"):
        open_reference(DatasetRef(name="words", fingerprint="f" * 64))


def test_the_default_is_the_most_recently_prepared(home):
    make_dataset(home, "old", prepared_at=5.0)
    assert default_dataset()[1] == "the only prepared dataset"
    make_dataset(home, "new", prepared_at=7.0)
    make_dataset(home, "older", prepared_at=3.0)
    dataset, reason = default_dataset()
    assert dataset.manifest.name == "new"
    assert reason == "the most recently prepared of 3 datasets"


def test_an_unfinished_dataset_is_no_dataset(home):
    (make_dataset(home) / "dataset.json").unlink()
    with pytest.raises(ValueError, match="no dataset is prepared"):
        default_dataset()


def test_a_damaged_manifest_is_refused(home):
    path = make_dataset(home) / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "corpus": "another"}))
    with pytest.raises(ValueError, match="does not match its fingerprint"):
        open_dataset("words")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"dataset\.json is not a valid Manifest"):
        open_dataset("words")


def test_a_tokenizer_that_is_not_the_manifests_is_refused(home):
    path = make_dataset(home)
    Tokenizer(".", (b"a", b"c"), ("<|reserved_0|>",)).save(path)
    with pytest.raises(ValueError, match="another tokenizer than its manifest names"):
        _ = open_dataset("words").tokenizer


def test_rows_of_another_dataset_are_refused(home):
    path = make_dataset(home)
    make_rows(path / "train", 8, "f" * 64)
    dataset = open_dataset("words")
    assert not dataset.has_rows("train", 8)
    with pytest.raises(ValueError, match="belongs to another dataset"):
        dataset.rows("train", 8)


def test_validation_rows_are_hashed_at_every_opening(home, monkeypatch):
    make_dataset(home)
    dataset = open_dataset("words")
    dataset.rows("train", 8)
    monkeypatch.setattr("shared.data.rows.Rows.sha256", lambda _: "0" * 64)
    dataset.rows("train", 8)
    for opening in (dataset.validation_rows, lambda: dataset.rows("validation", 2048)):
        with pytest.raises(ValueError, match=r"damaged.*\"split\":\"validation\""):
            opening()


def test_validation_rows_are_those_the_full_rung_scores():
    assert (EVAL_SEQ_LEN, RUNG_TOKENS[Rung.FULL] // EVAL_SEQ_LEN) == (VALIDATION_SEQ_LEN, MAX_VALIDATION_ROWS)


def test_the_fingerprint_depends_on_corpus_shards_tokenizer_and_packing():
    base = ("words", SHARDS, "a" * 64, 1)
    changed = [("other", *base[1:]), ("words", SHARDS[::-1], *base[2:]), (*base[:2], "b" * 64, 1), (*base[:3], 2)]
    assert len({dataset_fingerprint(*content) for content in [base, *changed]}) == 5


@pytest.mark.parametrize(("corpus", "cut", "removed"), [("climbmix", 0, 0), ("stdlib", 1, 0), ("parquet:text", 1, 1)])
def test_what_is_done_to_documents_is_in_the_fingerprint_where_it_is_done(monkeypatch, corpus, cut, removed):
    def fingerprint():
        return dataset_fingerprint(corpus, (), "0" * 64, 1)

    before = fingerprint()
    with monkeypatch.context() as patch:
        patch.setattr("shared.data.dataset.PIECES_VERSION", 99)
        assert (fingerprint() != before) == cut
    with monkeypatch.context() as patch:
        patch.setattr("shared.data.dataset.LARGEST_REPEATED_SHARE", 0.5)
        assert (fingerprint() != before) == removed
