"""A home of the kernel lab's own, and a way to have any file verified as a kernel of an op."""

import pytest

from kernels import catalog
from kernels.records import BuildSpec, Language, Solution, SourceFile
from services.kernel_lab.candidate import Limits
from services.kernel_lab.desk import scratch
from services.kernel_lab.ledger import Ledger
from services.kernel_lab.subject import subject_of
from services.kernel_lab.surroundings import surroundings
from services.kernel_lab.verify import verify
from shared.settings import settings


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty ARE_HOME, where a ledger lies that nobody but the lab may read."""
    monkeypatch.setenv("ARE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ARE_RUNS", str(tmp_path / "runs"))
    settings.cache_clear()
    Ledger().touch()
    yield tmp_path / "home"
    settings.cache_clear()


def subject_from(path, op="rmsnorm", language=Language.TORCH):
    """A file as a candidate for an op."""
    function = catalog.entry_of(catalog.definition(op), "torch")
    solution = Solution(
        name=f"{op}/{path.stem}",
        definition=op,
        author="a test",
        spec=BuildSpec(languages=(language,), entry_point=f"{path.stem}.py::{function}"),
        sources=(SourceFile(path=path.name, content=path.read_text()),),
    )
    return subject_of(solution, path, catalog.definition(op), {})


@pytest.fixture
def judged(home, tmp_path):
    """judged(path, ...) -> the last trace's evaluation."""

    def judge(path, op="rmsnorm", *, quick=False, limit_s=30.0, memory_mb=2048, language=Language.TORCH):
        around = surroundings("cpu", tmp_path / "work")
        with scratch(around.work):
            traces = verify(subject_from(path, op, language), around, Limits(limit_s, memory_mb), quick=quick)
        assert not around.work.exists(), "nothing of a candidate is left"
        return traces[-1].evaluation

    return judge
