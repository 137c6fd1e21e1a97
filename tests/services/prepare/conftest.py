"""A home of its own for every test, and one tiny corpus of made-up words, prepared once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from services.prepare.pipeline import prepare
from services.prepare.report import Report
from shared.contracts import PrepareJob
from shared.settings import settings

SEQ_LENS = (16, 33)


class RecordingReport(Report):
    """Keeps what was said."""

    def __init__(self):
        super().__init__(Console(quiet=True))
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    @property
    def text(self):
        return "\n".join(self.lines)


def make_documents(count, seed, mean_words=40):
    random = np.random.default_rng(seed)
    words = ["".join(map(chr, random.integers(97, 123, n))) for n in random.integers(2, 9, 300)]
    words += ["1234", "\n\n", "Straße", "日本語", "🙂", "don't"]
    sizes = random.geometric(1 / mean_words, count)
    return [" ".join(random.choice(words, size)) for size in sizes]


def write_parquet(path, documents, row_group_size=100, column="text"):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = documents if isinstance(documents, pa.Table) else pa.table({column: documents})
    pq.write_table(table, path, row_group_size=row_group_size)
    return path


def write_corpus(directory):
    """Two training files with row groups that are no multiples of 128, a validation file."""
    write_parquet(directory / "a.parquet", make_documents(700, 1), row_group_size=150)
    write_parquet(directory / "b" / "c.parquet", [*make_documents(300, 2), "", None, "x"], row_group_size=67)
    write_parquet(directory / "d.parquet", make_documents(260, 3), row_group_size=130)
    return directory


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture
def report():
    return RecordingReport()


@pytest.fixture(scope="session")
def corpus_directory(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "words")


@pytest.fixture(scope="session")
def prepared(corpus_directory, tmp_path_factory):
    """The Dataset of the tiny corpus. Shared: read it, do not change it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(tmp_path_factory.mktemp("home")))
        settings.cache_clear()
        job = PrepareJob(corpus=f"parquet:{corpus_directory}", seq_lens=SEQ_LENS, workers=1)
        dataset = prepare(job, RecordingReport())
    settings.cache_clear()
    return dataset
