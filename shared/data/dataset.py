"""Prepared datasets: where they lie, what identifies one, how to open its rows. Not how they are made.

<home>/corpora/<corpus>/                 raw downloads, shared by datasets
<home>/datasets/<name>/dataset.json      Manifest, written last: a dataset without one is unfinished
                       tokenizer.json    shared/data/tokenizer.py
                       train/            token cache, rows-<seq_len>.u16
<home>/validation/<name>/                the same of the validation split; apart, because only the evaluator may see it
"""

import json
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.contracts import Contract, DatasetRef, PackJob, PrepareJob, Sha256
from shared.data.rows import Rows, open_rows, read_rows_record, rows_file
from shared.data.tokenizer import Tokenizer, load_tokenizer
from shared.files import sha256_bytes
from shared.runs.directory import read_record
from shared.settings import settings

Split = Literal["train", "validation"]

# Evaluation reads rows of this length whatever the training length, at most upstream's 40 x 524,288 tokens of them.
VALIDATION_SEQ_LEN = 2048
MAX_VALIDATION_ROWS = 10240


# A validation piece nearly repeats training text when more than this share of its runs of so many consecutive tokens
# occur there. Part of the fingerprint where such pieces are removed.
RUN_TOKENS = 32
LARGEST_REPEATED_SHARE = 0.2
# Raise it when the same documents would be cut into other pieces.
PIECES_VERSION = 1

DEMO_CORPUS = "stdlib"
"""for first steps: every Python that runs a recipe holds its text, so no number on it says anything"""
DEMO_NOTICE = "stdlib, a demo corpus: for first steps and CI, results on it are never ranked"


class Shard(Contract):
    """A piece of the corpus as it was found."""

    name: str
    split: Split
    num_bytes: int
    sha256: Sha256


class SplitCounts(Contract):
    num_documents: int = Field(gt=0)
    num_tokens: int = Field(gt=0)
    """with the BOS in front of every document"""


class Repeats(Contract):
    """How much validation text is training text too, by runs of RUN_TOKENS tokens, and what was done about it."""

    num_pieces: int = Field(ge=0)
    """row-sized pieces of the validation text, before any was removed"""
    num_tokens: int = Field(ge=0)
    one_run_in: int = Field(ge=1)
    """so many was looked up, chosen by its content"""
    training_tokens: int = Field(ge=0)
    """that were looked through: all of them where pieces are removed"""
    share: float = Field(ge=0, le=1)
    """of the runs of the validation text that also occur in training text"""
    removed_pieces: int = Field(ge=0)
    """near repeats: more than LARGEST_REPEATED_SHARE of their runs occur in training text"""
    removed_tokens: int = Field(ge=0)
    same_pieces: int = Field(ge=0)
    """equal to an earlier validation piece; kept, like all of climbmix's, where rows are upstream's"""
    same_tokens: int = Field(ge=0)
    remaining_share: float = Field(ge=0, le=1)
    """as `share`, of what was not removed"""


class Manifest(Contract):
    name: str
    corpus: str
    """climbmix, stdlib or parquet:<text column>; no path, so hosts with equal files agree"""
    shards: tuple[Shard, ...]
    tokenizer: Sha256
    vocab_size: int
    packing_version: int
    train: SplitCounts
    validation: SplitCounts
    """as found: what was removed of it is in `repeats`"""
    repeats: Repeats | None = None
    fingerprint: Sha256
    job: PrepareJob
    """what to run to make it again"""
    prepared_at: float
    """unix time of the last preparation"""

    @property
    def is_demo(self) -> bool:
        """Results on it are never ranked."""
        return self.corpus == DEMO_CORPUS


def dataset_fingerprint(corpus: str, shards: tuple[Shard, ...], tokenizer: str, packing_version: int) -> str:
    content = {
        "corpus": corpus,
        "shards": [shard.model_dump() for shard in shards],
        "tokenizer": tokenizer,
        "packing_version": packing_version,
        **_document_rule(corpus),
    }
    return sha256_bytes(json.dumps(content, sort_keys=True, separators=(",", ":")).encode())


def _document_rule(corpus: str) -> dict[str, float]:
    """What is done to documents before packing: nothing where rows are upstream's, so fingerprints stay theirs."""
    cut = {} if keeps_upstream_rows(corpus) else {"pieces_version": PIECES_VERSION}
    near = {"run_tokens": RUN_TOKENS, "largest_repeated_share": LARGEST_REPEATED_SHARE}
    return {**cut, **(near if removes_repeats(corpus) else {})}


def keeps_upstream_rows(corpus: str) -> bool:
    """Rows bit for bit as upstream packs them: documents whole, validation as it is published."""
    return corpus == "climbmix"


def removes_repeats(corpus: str) -> bool:
    """Validation pieces that nearly repeat training text are removed."""
    return corpus.startswith("parquet:")


def kept_directory(validation: Path) -> Path:
    """Tokens of the validation pieces that stayed; of climbmix all do, and there is no such folder."""
    return validation / "kept"


@dataclass(frozen=True)
class Dataset:
    path: Path
    manifest: Manifest

    @property
    def ref(self) -> DatasetRef:
        return DatasetRef(name=self.manifest.name, fingerprint=self.manifest.fingerprint)

    @property
    def vocab_size(self) -> int:
        return self.manifest.vocab_size

    @cached_property
    def tokenizer(self) -> Tokenizer:
        tokenizer = load_tokenizer(self.path)
        if tokenizer.fingerprint != self.manifest.tokenizer:
            raise ValueError(f"{self.path} holds another tokenizer than its manifest names; run: {self.repair}")
        return tokenizer

    @property
    def repair(self) -> str:
        return prepare_command(self.manifest.job)

    def split_path(self, split: Split) -> Path:
        return split_directory(self.path, split)

    def rows_file(self, split: Split, seq_len: int) -> Path:
        return rows_file(self.split_path(split), seq_len)

    def has_rows(self, split: Split, seq_len: int) -> bool:
        """Whether rows of this dataset are there; says nothing about damage, opening them does."""
        try:
            record = read_rows_record(self.rows_file(split, seq_len), repair="")
        except ValueError:
            return False
        return record.dataset == self.manifest.fingerprint

    def coverage(self, seq_len: int) -> float | None:
        """Share of the training text that stands in rows of this length; None where nobody counted."""
        try:
            return read_rows_record(self.rows_file("train", seq_len), repair="").coverage
        except ValueError:
            return None

    def rows(self, split: Split, seq_len: int) -> Rows:
        """ValueError names the command that packs or repairs them."""
        return self._open(split, seq_len, every_byte=split == "validation")

    def validation_rows(self) -> Rows:
        """What val_bpb is measured on, every byte verified at every opening."""
        return self._open("validation", VALIDATION_SEQ_LEN, every_byte=True)

    def _open(self, split: Split, seq_len: int, every_byte: bool) -> Rows:
        job = PackJob(dataset=self.ref, seq_len=seq_len, split=split)
        path = self.rows_file(split, seq_len)
        record = read_rows_record(path, prepare_command(job))
        if (record.dataset, record.seq_len) != (self.manifest.fingerprint, seq_len):
            raise ValueError(f"{path} belongs to another dataset; run: {prepare_command(job)}")
        return open_rows(path, prepare_command(job), every_byte)


def prepare_command(job: PrepareJob | PackJob) -> str:
    return f"python -m services.prepare {shlex.quote(job.model_dump_json(exclude_defaults=True))}"


def datasets_directory() -> Path:
    return settings().home / "datasets"


def split_directory(dataset: Path, split: Split) -> Path:
    return dataset / "train" if split == "train" else dataset.parents[1] / "validation" / dataset.name


def open_dataset(name: str) -> Dataset:
    """ValueError when there is no finished dataset of that name, or its manifest is damaged."""
    path = datasets_directory() / name
    if not (path / "dataset.json").is_file():
        raise ValueError(f"no prepared dataset {name!r} in {datasets_directory()}: {_how_to_prepare()}")
    manifest = read_record(path / "dataset.json", Manifest)
    expected = dataset_fingerprint(manifest.corpus, manifest.shards, manifest.tokenizer, manifest.packing_version)
    if manifest.fingerprint != expected:
        raise ValueError(f"{path / 'dataset.json'} does not match its fingerprint: delete {path} and prepare it again")
    return Dataset(path, manifest)


def open_reference(ref: DatasetRef) -> Dataset:
    """The dataset a job names; ValueError when this host has another one under that name."""
    dataset = open_dataset(ref.name)
    if dataset.manifest.fingerprint != ref.fingerprint:
        raise ValueError(
            f"dataset {ref.name!r} here has fingerprint {dataset.manifest.fingerprint[:12]}, the job wants "
            f"{ref.fingerprint[:12]}: prepare it from the same corpus with the same tokenizer"
        )
    return dataset


def prepared_datasets() -> list[str]:
    return sorted(path.parent.name for path in datasets_directory().glob("*/dataset.json"))


def default_dataset() -> tuple[Dataset, str]:
    """The most recently prepared dataset, and why it is the one."""
    found = [open_dataset(name) for name in prepared_datasets()]
    if not found:
        raise ValueError(f"no dataset is prepared in {datasets_directory()}: {_how_to_prepare()}")
    newest = max(found, key=lambda dataset: dataset.manifest.prepared_at)
    if len(found) == 1:
        return newest, "the only prepared dataset"
    return newest, f"the most recently prepared of {len(found)} datasets"


def _how_to_prepare() -> str:
    return (
        "run `autoresearch prepare --corpus stdlib` (a demo: offline, a minute, never ranked) or "
        "`--corpus climbmix` (the real corpus)"
    )
