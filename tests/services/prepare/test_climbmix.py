"""Downloading climbmix behind the seam: what can go wrong on the way, and what is left afterwards."""

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.prepare.climbmix import ATTEMPTS, VALIDATION_SHARD, climbmix_corpus, shard_name
from services.prepare.hub import HubFile
from shared.files import sha256_bytes

VALIDATION = shard_name(VALIDATION_SHARD)


def content_of(name):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [name, "more text"]}), buffer)
    return buffer.getvalue()


class FakeHub:
    """Serves shards 0 to 3 and the last; `bad` gives what arrives instead in the first attempts."""

    def __init__(self, bad=None, attempts=1):
        self.files = {shard_name(i): content_of(shard_name(i)) for i in (0, 1, 2, 3, VALIDATION_SHARD)}
        self.bad, self.bad_attempts, self.fetched, self.lock = bad or {}, attempts, [], threading.Lock()

    def revision(self):
        return "c0ffee" * 6

    def describe(self, revision, names):
        assert revision == self.revision()
        found = {name: self.files[name] for name in names if name in self.files}
        return {name: HubFile(sha256=sha256_bytes(data), num_bytes=len(data)) for name, data in found.items()}

    def fetch(self, revision, name, directory):
        with self.lock:
            self.fetched.append(name)
            attempt = self.fetched.count(name)
        arrives = self.bad[name] if name in self.bad and attempt <= self.bad_attempts else self.files[name]
        if isinstance(arrives, Exception):
            (directory / f"{name}.incomplete").write_bytes(b"half")
            raise arrives
        (directory / name).write_bytes(arrives)


class NoHub:
    def __getattr__(self, name):
        pytest.fail(f"the hub was asked for {name}")


@pytest.fixture
def open_it(home, report):
    waits = []

    def open_it(hub, num_shards=2):
        corpus = climbmix_corpus(num_shards, report, hub, sleep=waits.append)
        return corpus

    open_it.waits, open_it.directory = waits, home / "corpora" / "climbmix"
    return open_it


def files_of(directory):
    return sorted(path.name for path in directory.rglob("*") if not path.name.startswith("."))


def test_the_first_shards_train_and_the_last_of_all_validates(open_it):
    corpus = open_it(FakeHub())
    assert [(s.name, s.split) for s in corpus.records] == [
        (shard_name(0), "train"),
        (shard_name(1), "train"),
        (VALIDATION, "validation"),
    ]
    assert [text for _, group in corpus.shards[1].documents() for text in group] == [shard_name(1), "more text"]


def test_what_is_there_is_not_asked_for_again(open_it):
    open_it(FakeHub())
    assert open_it(NoHub()).records
    hub = FakeHub()
    open_it(hub, num_shards=3)
    assert hub.fetched == [shard_name(2)]


@pytest.mark.parametrize(
    "bad", [b"", content_of("x")[:50], content_of(shard_name(9)), ConnectionError("reset"), ConnectionError("timeout")]
)
def test_a_shard_that_arrives_damaged_is_fetched_again(open_it, bad):
    hub = FakeHub({shard_name(1): bad}, attempts=2)
    open_it(hub)
    assert hub.fetched.count(shard_name(1)) == 3
    assert open_it.waits == [2, 4]
    assert files_of(open_it.directory) == ["index.json", shard_name(0), shard_name(1), VALIDATION]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (content_of("x")[:50], "50 bytes came instead of"),
        (content_of(shard_name(9)), "sha256 is not the hub's"),
        (ConnectionError("connection reset"), "connection reset"),
    ],
)
def test_a_shard_that_never_arrives_whole_is_one_clear_error_and_leaves_nothing(open_it, bad, reason):
    hub = FakeHub({shard_name(1): bad}, attempts=99)
    with pytest.raises(ValueError, match=rf"shard_00001\.parquet did not arrive in {ATTEMPTS} attempts.*{reason}.*HF_"):
        open_it(hub)
    assert shard_name(1) not in files_of(open_it.directory)
    assert not (open_it.directory / "incoming").exists()
    open_it(FakeHub())


def test_shards_the_hub_lacks_are_one_clear_error(open_it):
    hub = FakeHub()
    del hub.files[shard_name(1)]
    with pytest.raises(ValueError, match=r"has no shard_00001\.parquet \(1 missing\)"):
        open_it(hub)


def test_a_full_disk_is_not_retried(open_it):
    hub = FakeHub({shard_name(0): OSError(28, "No space left on device")}, attempts=99)
    with pytest.raises(OSError, match="No space left"):
        open_it(hub)
    assert hub.fetched.count(shard_name(0)) == 1
    assert not (open_it.directory / "incoming").exists()


def test_a_truncated_or_changed_shard_is_fetched_anew_and_orphans_go(open_it):
    open_it(FakeHub())
    (open_it.directory / shard_name(0)).write_bytes(b"half")
    incoming = open_it.directory / "incoming" / ".cache"
    incoming.mkdir(parents=True)
    (incoming / "x.incomplete").write_bytes(b"orphan of a killed download")
    hub = FakeHub()
    open_it(hub)
    assert hub.fetched == [shard_name(0)]
    assert not incoming.exists()
