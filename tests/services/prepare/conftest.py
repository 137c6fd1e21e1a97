"""A home of its own for every test, and one tiny corpus, prepared once."""

from pathlib import Path

import pytest

from services.prepare.climbmix import VALIDATION_SHARD, shard_name
from services.prepare.pipeline import prepare
from shared.contracts import PrepareJob
from shared.settings import settings
from tests.services.prepare.tiny_corpus import CORPUS_FILES, SEQ_LENS, LocalHub, RecordingReport, write_corpus


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
def climbmix(corpus_directory, tmp_path_factory):
    """The Dataset of the same files as climbmix would have them: two training shards, the last for validation."""
    files = dict(zip((0, 1, VALIDATION_SHARD), CORPUS_FILES, strict=True))
    hub = LocalHub({shard_name(index): corpus_directory / name for index, name in files.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr("services.prepare.climbmix._hugging_face", lambda: hub)
        settings.cache_clear()
        dataset = prepare(PrepareJob(corpus="climbmix", shards=2, seq_lens=SEQ_LENS, workers=1), RecordingReport())
    settings.cache_clear()
    return dataset


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
