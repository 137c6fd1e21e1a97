"""A home of its own for every test, and one tiny corpus, prepared once."""

from pathlib import Path

import pytest

from services.prepare.pipeline import prepare
from shared.contracts import PrepareJob
from shared.settings import settings
from tests.services.prepare.tiny_corpus import SEQ_LENS, RecordingReport, write_corpus


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
