"""A made-up language in parquet files, and the dataset made of it: a `parquet:` corpus, so its runs are ranked.

Nothing of it lies on any machine: words are drawn from seeded syllables, sentences from classes that follow each
other, topics from documents. A vocabulary of 512 tokens keeps one evaluation at some seconds on a CPU.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rustbpe

from services.prepare.pipeline import prepare
from services.prepare.tokenizer_training import PATTERN, SPECIALS
from shared.contracts import PrepareJob
from shared.data.tokenizer import Tokenizer
from shared.settings import settings
from tests.services.prepare.tiny_corpus import RecordingReport

NAME = "invented"
SEQ_LEN = 256
VOCAB_SIZE = 512
NUM_WORDS, NUM_CLASSES, NUM_TOPICS = 3000, 24, 8
TRAIN_DOCUMENTS, VALIDATION_DOCUMENTS, MEAN_WORDS = 1600, 2400, 220


class Language:
    """Zipfian words in classes; a class is followed by few others; a topic makes some words likelier."""

    def __init__(self, seed: int):
        random = np.random.default_rng(seed)
        onsets = [*"bcdfghjklmnpqrstvwz", "br", "st", "tr", "pl", "sh", "ch"]
        syllables = [a + b + c for a in onsets for b in "aeiou" for c in ("", "n", "r", "s", "l", "t")]
        words = {"".join(random.choice(syllables, random.integers(1, 4))) for _ in range(2 * NUM_WORDS)}
        self.words = np.array(sorted(words), dtype=object)[random.permutation(len(words))[:NUM_WORDS]]
        self.members = np.array_split(random.permutation(NUM_WORDS), NUM_CLASSES)
        follows = random.dirichlet(np.full(NUM_CLASSES, 0.15), NUM_CLASSES)
        self.follows = np.cumsum(0.95 * follows + 0.05 / NUM_CLASSES, axis=1)
        self.weights = [self._weights(members, random) for members in self.members]

    @staticmethod
    def _weights(members: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """[topics, members], cumulative: Zipf's law with a topic's favourites in front."""
        zipf = 1 / np.arange(1, len(members) + 1)
        weights = zipf * random.gamma(0.5, size=(NUM_TOPICS, len(members)))
        return np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)

    def document(self, random: np.random.Generator) -> str:
        topic, kind, words = int(random.integers(NUM_TOPICS)), int(random.integers(NUM_CLASSES)), []
        for draw, choice in random.random((int(random.geometric(1 / MEAN_WORDS)) + 5, 2)):
            kind = min(int(np.searchsorted(self.follows[kind], draw)), NUM_CLASSES - 1)
            place = min(int(np.searchsorted(self.weights[kind][topic], choice)), len(self.members[kind]) - 1)
            words.append(self.words[self.members[kind][place]])
            if len(words) % 11 == kind % 11:
                words[-1] += "."
        return " ".join(words)


def make_dataset(home: Path, corpus: Path) -> None:
    """The dataset `invented` in `home`: rows of 256 for training, rows of every rung but `full` for validation."""
    language, random = Language(1), np.random.default_rng(2)
    documents = [language.document(random) for _ in range(TRAIN_DOCUMENTS + VALIDATION_DOCUMENTS)]
    corpus.mkdir(parents=True)
    for name, texts in (("a", documents[:TRAIN_DOCUMENTS]), ("b", documents[TRAIN_DOCUMENTS:])):
        pq.write_table(pa.table({"text": texts}), corpus / f"{name}.parquet", row_group_size=200)
    small_tokenizer(documents[:400]).save(corpus)
    job = PrepareJob(
        corpus=f"parquet:{corpus}", name=NAME, seq_lens=(SEQ_LEN,), workers=1, tokenizer=str(corpus)
    )  # fmt: skip
    with environment(ARE_HOME=str(home)):
        prepare(job, RecordingReport())


def small_tokenizer(documents: list[str]) -> Tokenizer:
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(documents), VOCAB_SIZE - len(SPECIALS), pattern=PATTERN)
    ranks = sorted(trainer.get_mergeable_ranks(), key=lambda pair: pair[1])
    return Tokenizer(trainer.get_pattern(), tuple(bytes(token) for token, _ in ranks), SPECIALS)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Settings are read anew inside and after."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        settings.cache_clear()
        yield
    settings.cache_clear()


def cached_home(folder: Path) -> Path:
    """ARE_CHEATS_HOME keeps the dataset between sessions while somebody works on the collection."""
    kept = os.environ.get("ARE_CHEATS_HOME")
    home = Path(kept) if kept else folder / "home"
    if not (home / "datasets" / NAME / "dataset.json").exists():
        home.mkdir(parents=True, exist_ok=True)
        make_dataset(home, home / "corpus-files" / NAME)
    return home
