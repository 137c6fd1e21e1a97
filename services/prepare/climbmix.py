"""The `climbmix` corpus: parquet shards of karpathy/climbmix-400b-shuffle on the Hugging Face hub.

The last shard is the validation split of everybody. The first download pins the repository's commit for this home;
a shard appears only after its sha256 matched the hub's record. HF_ENDPOINT and HF_TOKEN work as everywhere.
"""

import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.prepare.corpora import Corpus
from services.prepare.hub import Hub, HubFile
from services.prepare.lock import writer_lock
from services.prepare.parquet import num_text_rows, parquet_shard
from services.prepare.report import Report
from services.prepare.unchanged import Fixed
from shared.contracts import Contract
from shared.data.dataset import Shard, Split
from shared.data.rows import remembered_sha256, stamp_file
from shared.runs.directory import read_record, write_record
from shared.settings import settings

REPOSITORY = "karpathy/climbmix-400b-shuffle"
VALIDATION_SHARD = 6542
TEXT_COLUMN = "text"
PARALLEL_DOWNLOADS = 8
ATTEMPTS = 5


ADVICE = (
    "check the network (HF_ENDPOINT may name a mirror) and run it again, or use `--corpus stdlib`, which needs none"
)


class Index(Contract):
    """What the hub said about the shards this home knows; lies beside them as index.json."""

    revision: str
    """commit of the repository"""
    files: dict[str, HubFile]


class Unavailable(Exception):
    """A shard could not be had; the message is the reason."""


def climbmix_corpus(
    num_shards: int, report: Report, hub: Hub | None = None, sleep: Callable[[float], None] = time.sleep
) -> Corpus:
    """The first shards and the validation shard. ValueError when the hub does not give them."""
    directory = settings().home / "corpora" / "climbmix"
    names = [shard_name(index) for index in (*range(num_shards), VALIDATION_SHARD)]
    with writer_lock(directory, report=report):
        directory.mkdir(parents=True, exist_ok=True)
        index = _index(directory, names, hub)
        missing = [name for name in names if not _is_there(directory / name, index.files[name])]
        if missing:
            _download(missing, directory, index, hub or _hugging_face(), sleep, report)
    report.say(f"climbmix: {len(names) - len(missing)} shards reused, {len(missing)} downloaded")
    shards = []
    for name in names:
        split: Split = "validation" if name == names[-1] else "train"
        file = index.files[name]
        record = Shard(name=name, split=split, num_bytes=file.num_bytes, sha256=file.sha256)
        fixed = Fixed.now(directory / name)
        if not _is_there(fixed.path, file):
            raise ValueError(f"{fixed.path} was replaced after it had been verified: prepare again")
        num_rows = num_text_rows(fixed.path, TEXT_COLUMN)
        shards.append(parquet_shard(record, fixed, TEXT_COLUMN, 0, num_rows))
    return Corpus("climbmix", tuple(shards))


def shard_name(index: int) -> str:
    return f"shard_{index:05d}.parquet"


def _index(directory: Path, names: list[str], hub: Hub | None) -> Index:
    """Knows every shard named; asks the hub only about new ones."""
    path = directory / "index.json"
    index = read_record(path, Index) if path.exists() else None
    unknown = [name for name in names if index is None or name not in index.files]
    if index is not None and not unknown:
        return index
    hub = hub or _hugging_face()
    try:
        revision = index.revision if index else hub.revision()
        found = hub.describe(revision, unknown)
    except ConnectionError as error:
        raise ValueError(f"Hugging Face cannot be asked about {REPOSITORY} ({error}): {ADVICE}") from None
    absent = [name for name in unknown if name not in found]
    if absent:
        raise ValueError(f"{REPOSITORY} at {revision[:12]} has no {absent[0]} ({len(absent)} missing): {ADVICE}")
    index = Index(revision=revision, files={**(index.files if index else {}), **found})
    write_record(path, index)
    return index


def _is_there(path: Path, expected: HubFile) -> bool:
    if not path.is_file() or path.stat().st_size != expected.num_bytes:
        return False
    return remembered_sha256(path) == expected.sha256


def _download(
    names: list[str], directory: Path, index: Index, hub: Hub, sleep: Callable[[float], None], report: Report
) -> None:
    """All of them, in parallel. What arrives is kept when another shard fails, so the next run asks for less."""
    incoming = directory / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir()

    def fetch(name: str) -> int:
        _fetch(hub, index, name, incoming, sleep)
        os.replace(incoming / name, directory / name)
        return index.files[name].num_bytes

    megabytes = sum(index.files[name].num_bytes for name in names) // 10**6
    pool = ThreadPoolExecutor(min(PARALLEL_DOWNLOADS, len(names)))
    try:
        with report.stage("climbmix: downloading", megabytes, "MB") as advance:
            for num_bytes in pool.map(fetch, names):
                advance(num_bytes // 10**6)
    except Unavailable as error:
        raise ValueError(f"climbmix: {error}: {ADVICE}") from None
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(incoming, ignore_errors=True)


def _fetch(hub: Hub, index: Index, name: str, incoming: Path, sleep: Callable[[float], None]) -> None:
    """A file in `incoming` that is what the hub says it is. A bad one is fetched anew, a few times."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            hub.fetch(index.revision, name, incoming)
            reason = _difference(incoming / name, stamp_file(incoming.parent / name), index.files[name])
        except ConnectionError as error:
            reason = str(error)
        if not reason:
            return
        (incoming / name).unlink(missing_ok=True)
        if attempt < ATTEMPTS:
            sleep(2**attempt)
    raise Unavailable(f"{name} did not arrive in {ATTEMPTS} attempts, the last one: {reason}")


def _difference(path: Path, stamp: Path, expected: HubFile) -> str:
    if not path.is_file():
        return "no file came"
    if path.stat().st_size != expected.num_bytes:
        return f"{path.stat().st_size} bytes came instead of {expected.num_bytes}"
    return "" if remembered_sha256(path, stamp) == expected.sha256 else "its sha256 is not the hub's"


def _hugging_face() -> Hub:
    from services.prepare.hugging_face import HuggingFaceHub

    return HuggingFaceHub(REPOSITORY)
