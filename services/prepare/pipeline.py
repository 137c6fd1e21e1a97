"""One preparation from corpus to rows. Every step keeps what an earlier run finished, so a killed one is run again.

A dataset directory serves one plan (corpus, shards, tokenizer). Another plan under the same name is refused when
the dataset is finished, since runs refer to it, and replaces what an unfinished one left.
"""

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import get_args

from services.prepare.corpora import Corpus
from services.prepare.lock import writer_lock
from services.prepare.open_corpus import open_corpus
from services.prepare.packing import Source, pack_split, token_directory
from services.prepare.repeats import examine
from services.prepare.report import Report
from services.prepare.token_cache import CachedShard, cached_shards
from services.prepare.tokenization import tokenize
from services.prepare.tokenizer_training import train_tokenizer
from shared.contracts import Contract, PrepareJob, Sha256
from shared.data.dataset import (
    VALIDATION_SEQ_LEN,
    Dataset,
    Manifest,
    Shard,
    Split,
    SplitCounts,
    dataset_fingerprint,
    datasets_directory,
    keeps_upstream_rows,
    kept_directory,
    split_directory,
)
from shared.data.rows import PACKING_VERSION
from shared.data.tokenizer import FILE_NAME, Tokenizer, load_tokenizer
from shared.runs.directory import read_record, write_record


class Plan(Contract):
    """What the files of a dataset directory are made from; lies there as plan.json."""

    corpus: str
    shards: tuple[Shard, ...]
    tokenizer: Sha256 | None
    """of a given tokenizer; None trains one on this corpus"""


def prepare(job: PrepareJob, report: Report) -> Dataset:
    """The dataset, made or completed. ValueError says what is wrong with the job or the corpus."""
    job = _with_absolute_paths(job)
    given = load_tokenizer(Path(job.tokenizer)) if job.tokenizer else None
    corpus = open_corpus(job, report)
    path = datasets_directory() / (job.name or default_name(job))
    directories = {split: split_directory(path, split) for split in get_args(Split)}
    with writer_lock(path, *directories.values(), kept_directory(directories["validation"]), report=report):
        plan = Plan(corpus=corpus.identity, shards=corpus.records, tokenizer=_fingerprint(given))
        _claim(path, plan, directories["validation"], report)
        tokenizer = _tokenizer(path, corpus, given, report)
        fingerprint = dataset_fingerprint(corpus.identity, corpus.records, tokenizer.fingerprint, PACKING_VERSION)
        _check_fingerprint(path, fingerprint)
        train = tokenize(corpus.of("train"), directories["train"], tokenizer, job.workers, report)
        validation = tokenize(corpus.of("validation"), directories["validation"], tokenizer, job.workers, report)
        counts = {"train": _counts(train, "training", corpus), "validation": _counts(validation, "validation", corpus)}
        repeats = examine(
            corpus.identity, (directories["train"], train), (directories["validation"], validation), report
        )
        manifest = Manifest(
            name=path.name,
            corpus=corpus.identity,
            shards=corpus.records,
            tokenizer=tokenizer.fingerprint,
            vocab_size=tokenizer.vocab_size,
            packing_version=PACKING_VERSION,
            **counts,
            repeats=repeats,
            fingerprint=fingerprint,
            job=job,
            prepared_at=time.time(),
        )
        upstream = keeps_upstream_rows(corpus.identity)
        kept = token_directory(corpus.identity, directories["validation"], "validation")
        source = Source(kept, cached_shards(kept, len(validation)), "validation", upstream)
        pack_split(source, directories["validation"], VALIDATION_SEQ_LEN, fingerprint, report)
        for seq_len in job.seq_lens:
            source = Source(directories["train"], train, "train", upstream)
            pack_split(source, directories["train"], seq_len, fingerprint, report)
        write_record(path / "dataset.json", manifest)
    return Dataset(path, manifest)


def _with_absolute_paths(job: PrepareJob) -> PrepareJob:
    """The manifest keeps the job for repairs, which may be run from anywhere."""
    changes = {"tokenizer": _absolute(job.tokenizer)} if job.tokenizer else {}
    if job.corpus.startswith("parquet:"):
        changes["corpus"] = f"parquet:{_absolute(job.corpus.removeprefix('parquet:'))}"
    return job.model_copy(update=changes)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def default_name(job: PrepareJob) -> str:
    if job.corpus == "climbmix":
        return f"climbmix-{job.shards}"
    if job.corpus == "stdlib":
        return "stdlib"
    directory = Path(job.corpus.removeprefix("parquet:"))
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", directory.name).lstrip("_.-")[:80]
    if not name:
        raise ValueError(f"the directory {directory} gives no dataset name: name it with --name")
    return name


def _claim(path: Path, plan: Plan, validation: Path, report: Report) -> None:
    """Makes sure that what lies in the directory was made from this plan."""
    plan_file = path / "plan.json"
    with suppress(ValueError):
        if read_record(plan_file, Plan) == plan:
            return
    if (path / "dataset.json").exists():
        raise _other_dataset(path)
    if path.exists():
        report.say(f"{path.name}: an unfinished preparation from other shards or another tokenizer is replaced")
        shutil.rmtree(path)
        shutil.rmtree(validation, ignore_errors=True)
    path.mkdir(parents=True)
    write_record(plan_file, plan)


def _check_fingerprint(path: Path, fingerprint: str) -> None:
    """A finished dataset never becomes another one under its name."""
    manifest = path / "dataset.json"
    if manifest.exists() and read_record(manifest, Manifest).fingerprint != fingerprint:
        raise _other_dataset(path)


def _other_dataset(path: Path) -> ValueError:
    return ValueError(
        f"a dataset {path.name!r} from other shards, another tokenizer or an earlier version is in {path}: "
        "prepare this one under another name, or delete that directory"
    )


def _tokenizer(path: Path, corpus: Corpus, given: Tokenizer | None, report: Report) -> Tokenizer:
    if (path / FILE_NAME).exists():
        tokenizer = load_tokenizer(path)
        report.say(f"tokenizer: reused, {tokenizer.vocab_size:,} tokens, {tokenizer.fingerprint[:12]}")
        return tokenizer
    tokenizer = given or train_tokenizer(corpus.of("train"), report, whole=not keeps_upstream_rows(corpus.identity))
    tokenizer.save(path)
    return tokenizer


def _fingerprint(tokenizer: Tokenizer | None) -> str | None:
    return tokenizer.fingerprint if tokenizer else None


def _counts(shards: list[CachedShard], split: str, corpus: Corpus) -> SplitCounts:
    num_documents = sum(shard.num_documents for shard in shards)
    if not num_documents:
        raise ValueError(f"the {split} split of {corpus.identity} has no document: its text is null everywhere")
    return SplitCounts(num_documents=num_documents, num_tokens=sum(shard.num_tokens for shard in shards))
