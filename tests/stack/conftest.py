"""One stack for all tests of a session, with a dataset of made-up words, that each test leaves running."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.recipes import HONEST
from tests.stack.containers import Stack, copy_checkout, stack_name
from tests.stack.engine import base_images


@pytest.fixture(scope="session")
def bases() -> dict[str, str]:
    """Build arguments of the base images. Skips where there is no engine."""
    return base_images()


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    from tests.services.prepare.tiny_corpus import write_corpus

    folder = write_corpus(tmp_path_factory.mktemp("corpus"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)  # another user reads it in the container
    return folder


@pytest.fixture(scope="session")
def checkout(tmp_path_factory) -> Path:
    return copy_checkout(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def stack(bases, corpus, checkout) -> Iterator[Stack]:
    """`make up-cpu` in a clone, and dataset `words` prepared through the queue."""
    stack = Stack(checkout, stack_name(), CORPUS_DIR=str(corpus), **bases)
    stack.end()  # of a session that was killed
    try:
        stack.up()
        stack.rq("prepare", "words", "corpus=parquet:/corpus", "name=words", "seq_lens:=[64,256]", "workers=1")
        assert stack.outcome("words").status == "ok", stack.outcome("words")
        yield stack
    finally:
        stack.end()


@pytest.fixture
def enqueue(stack, tmp_path) -> Callable[..., str]:
    """A short experiment by plain `rq enqueue`, with a recipe that is a file outside of the stack."""

    def enqueue(job_id: str, source: str = HONEST, *arguments: str, seconds: float = 1.0) -> str:
        recipe = tmp_path / f"{job_id}.py"
        recipe.write_text(source)
        quick = ("dataset=words", "smoke=true", 'set:={"seq_len": "64"}', f"time_budget={seconds}")
        return stack.rq("train", job_id, f"recipe=@{recipe}", *quick, *arguments)

    return enqueue
