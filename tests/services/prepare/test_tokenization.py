"""The token cache: same files whatever the number of processes, damage found, leftovers of no kind."""

import os
import signal
import subprocess
import sys
from contextlib import closing

import numpy as np
import psutil
import pytest

from services.prepare import tokenization
from services.prepare.corpora import CorpusShard
from services.prepare.token_cache import lengths_file, read_cached, record_file, refill_batches, tokens_file
from services.prepare.tokenization import tokenize
from services.prepare.tokenizer_training import train_tokenizer, training_texts
from shared.data.dataset import Shard
from shared.files import sha256_file
from tests.services.prepare.tiny_corpus import RecordingReport, make_documents


def make_shard(*groups, name="a"):
    record = Shard(name=name, split="train", num_bytes=1000, sha256="0" * 64)
    return CorpusShard(record, sum(map(len, groups)), lambda: iter(enumerate(groups)))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([make_shard(make_documents(500, 1))], RecordingReport())


def cached_files(directory):
    return {path.name: sha256_file(path) for path in directory.iterdir() if not path.name.endswith(".stamp")}


def test_every_document_is_there_once_with_bos_in_front(tmp_path, tokenizer, report):
    groups = [make_documents(300, 5), [], ["", "x <|reserved_0|> y"]]
    (cached,) = tokenize([make_shard(*groups)], tmp_path, tokenizer, 1, report)
    tokens = np.fromfile(tokens_file(tmp_path, 0), "<u2")
    lengths = np.fromfile(lengths_file(tmp_path, 0), "<u4")
    documents = np.split(tokens, np.cumsum(lengths)[:-1])
    assert cached.row_groups == (300, 2)
    assert [document[0] for document in documents] == [tokenizer.bos] * 302
    assert [tokenizer.decode(document).decode() for document in documents] == [
        text for group in groups for text in group
    ]
    assert (tokens == tokenizer.bos).sum() == 302


def test_files_do_not_depend_on_the_number_of_processes(tmp_path, tokenizer, report, monkeypatch):
    monkeypatch.setattr(tokenization, "BYTES_PER_PROCESS", 1)
    monkeypatch.setattr(tokenization, "CHUNK_CHARS", 3000)
    shards = [make_shard(make_documents(200, 7), make_documents(99, 8)), make_shard(make_documents(50, 9), name="b")]
    for workers in (1, 2):
        tokenize(shards, tmp_path / str(workers), tokenizer, workers, report)
    assert cached_files(tmp_path / "1") == cached_files(tmp_path / "2")


def test_encoding_processes_end_when_the_parent_is_killed(tmp_path, tokenizer):
    tokenizer.save(tmp_path)
    script = f"""
import multiprocessing, pathlib, time
from shared.data.tokenizer import load_tokenizer
from services.prepare.tokenization import _encoders
if __name__ == "__main__":
    with _encoders(load_tokenizer(pathlib.Path({str(tmp_path)!r})), 2) as submit:
        [submit(["x"]).result() for _ in range(4)]
        print("ready", flush=True)
        time.sleep(60)
"""
    (tmp_path / "script.py").write_text(script)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    parent = subprocess.Popen([sys.executable, tmp_path / "script.py"], stdout=subprocess.PIPE, env=environment)
    with closing(parent.stdout):
        assert parent.stdout.readline() == b"ready\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert children
    assert not psutil.wait_procs(children, timeout=10)[1]


def test_what_is_cached_is_kept(tmp_path, tokenizer, report):
    shard = make_shard(make_documents(20, 1))
    first = tokenize([shard], tmp_path, tokenizer, 1, report)
    unreadable = CorpusShard(shard.shard, 20, lambda: pytest.fail("read again"))
    assert tokenize([unreadable], tmp_path, tokenizer, 1, report) == first
    assert "1 of 1 shards reused" in report.text


@pytest.mark.parametrize("damage", ["truncate tokens", "change lengths", "remove tokens", "break record"])
def test_a_damaged_cache_is_made_again_and_that_is_said(tmp_path, tokenizer, report, damage):
    shard = make_shard(make_documents(20, 1))
    tokenize([shard], tmp_path, tokenizer, 1, report)
    good = cached_files(tmp_path)
    tokens, lengths, record = (make(tmp_path, 0) for make in (tokens_file, lengths_file, record_file))
    if damage == "truncate tokens":
        os.truncate(tokens, 10)
    elif damage == "change lengths":
        lengths.write_bytes(lengths.read_bytes()[::-1])
    elif damage == "remove tokens":
        tokens.unlink()
    else:
        record.write_bytes(b"{")
    with pytest.raises(ValueError, match="00000"):
        read_cached(tmp_path, 0)
    tokenize([shard], tmp_path, tokenizer, 1, report)
    assert "tokenizing the shard again" in report.text
    assert cached_files(tmp_path) == good


def test_a_failure_while_reading_leaves_no_file(tmp_path, tokenizer, report):
    def broken():
        yield 0, make_documents(300, 1)
        raise ValueError("a.parquet cannot be read")

    with pytest.raises(ValueError, match="cannot be read"):
        tokenize([CorpusShard(make_shard([]).shard, 300, broken)], tmp_path, tokenizer, 1, report)
    assert list(tmp_path.iterdir()) == []


def test_a_document_beyond_the_encoders_limit_keeps_all_its_bytes(tmp_path, tokenizer, report):
    text = "a" + " " * 2_000_000 + "b"
    tokenize([make_shard([text])], tmp_path, tokenizer, 1, report)
    assert tokenizer.decode(np.fromfile(tokens_file(tmp_path, 0), "<u2")).decode() == text


def test_batches_cycle_over_row_groups_and_cut_what_no_row_can_hold(tmp_path, tokenizer, report):
    shards = [make_shard(["a"] * 300, ["b " * 500] * 3), make_shard(["c"], name="b")]
    cached = tokenize(shards, tmp_path, tokenizer, 1, report)
    batches = refill_batches(tmp_path, cached, max_tokens=4)
    epoch = [next(batches) for _ in range(5)]
    assert [len(batch) for batch in epoch] == [128, 128, 44, 3, 1]
    assert all(len(beginning) == 2 * min(length, 4) for batch in epoch for length, beginning in batch)
    assert next(batches) == epoch[0]


def test_training_texts_are_capped_each_and_together(monkeypatch):
    monkeypatch.setattr("services.prepare.tokenizer_training.MAX_DOCUMENT_CHARS", 5)
    shards = [make_shard(["abcdefgh", "x"]), make_shard(["yz", "never"])]
    assert list(training_texts(shards, lambda _: None, max_chars=7)) == ["abcde", "x", "yz"]
    whole = list(training_texts(shards, lambda _: None, whole=True))
    assert "".join(whole) == "abcdefghxyznever"
    assert max(map(len, whole)) == 5


def test_a_small_corpus_gives_a_smaller_vocabulary_and_that_is_said(report):
    tokenizer = train_tokenizer([make_shard(["ab ab ab"])], report)
    assert 256 < tokenizer.vocab_size < 300
    assert "smaller than 8,192 tokens" in report.text
