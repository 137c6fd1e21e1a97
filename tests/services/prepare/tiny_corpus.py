"""Made-up words in parquet files, and a report that remembers: what the tests of this folder share."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from services.prepare.hub import HubFile
from services.prepare.report import Report
from shared.files import sha256_file

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


CORPUS_FILES = ("a.parquet", "b/c.parquet", "d.parquet")


class LocalHub:
    """The hub of climbmix with files of this disk: {name: path}."""

    def __init__(self, files):
        self.files = files

    def revision(self):
        return "c0ffee" * 6

    def describe(self, revision, names):
        files = {name: self.files[name] for name in names}
        return {name: HubFile(sha256=sha256_file(p), num_bytes=p.stat().st_size) for name, p in files.items()}

    def fetch(self, revision, name, directory):
        shutil.copy(self.files[name], directory / name)


def write_corpus(directory):
    """Two training files with row groups that are no multiples of 128, a validation file."""
    write_parquet(directory / "a.parquet", make_documents(700, 1), row_group_size=150)
    write_parquet(directory / "b" / "c.parquet", [*make_documents(300, 2), "", None, "x"], row_group_size=67)
    write_parquet(directory / "d.parquet", make_documents(260, 3), row_group_size=130)
    return directory
