"""A tiny prepared dataset, made once a session, and a home and runs folder of its own for every test."""

import os
from pathlib import Path

import pytest

from shared.settings import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # many small processes on few cores


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory) -> Path:
    """An ARE_HOME with dataset `words`: rows of 64 for training, ten rows of 2048 for validation. Do not change it."""
    from services.prepare.pipeline import prepare
    from shared.contracts import PrepareJob
    from tests.services.prepare.tiny_corpus import RecordingReport, write_corpus

    home = tmp_path_factory.mktemp("home")
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "words")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(home))
        settings.cache_clear()
        job = PrepareJob(corpus=f"parquet:{corpus}", name="words", seq_lens=(64, 256), workers=1)
        prepare(job, RecordingReport())
    settings.cache_clear()
    return home


@pytest.fixture
def workplace(prepared_home, tmp_path, monkeypatch) -> Path:
    """The prepared home, and an empty folder for runs, which is returned."""
    monkeypatch.setenv("ARE_HOME", str(prepared_home))
    monkeypatch.setenv("ARE_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs").mkdir()
    settings.cache_clear()
    yield tmp_path / "runs"
    settings.cache_clear()


def pytest_collection_modifyitems(items):
    """Hardware tests are skipped where the hardware is not, and say so."""
    missing = {"gpu": _has_cuda, "metal": _has_metal}
    for marker, present in missing.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        if marked and not present():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=f"needs a {marker} device"))


def _has_cuda() -> bool:
    from shared.machine.hardware import visible_gpus

    return bool(visible_gpus())


def _has_metal() -> bool:
    from shared.machine.hardware import is_apple_silicon

    return is_apple_silicon()
