"""The `stdlib` corpus: source of the running Python's standard library and pydoc's topics. Offline, always there.

Files are cut into documents of a few thousand characters, because best-fit packing drops the rest of a document
longer than a row. A file belongs to one split as a whole, chosen by the hash of its path.
"""

import hashlib
import sysconfig
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from services.prepare.corpora import Corpus, CorpusShard, Documents
from shared.data.dataset import Shard, Split

DOCUMENT_CHARS = 4000
ROW_GROUP_DOCUMENTS = 1024
VALIDATION_PERCENT = 10
# Installed packages are not the standard library; build configuration holds this machine's paths.
EXCLUDED = ("site-packages", "dist-packages", "__pycache__", "config-")
# pydoc's topics are documents of their own below, their source would be the same text again in the other split.
EXCLUDED_FILES = ("_sysconfigdata", "topics.py")


def stdlib_corpus(directory: Path | None = None) -> Corpus:
    """`directory` stands in for the standard library in tests."""
    texts = [*_sources(directory or Path(sysconfig.get_path("stdlib")))]
    if directory is None:
        texts += _topics()
    if not texts:
        raise ValueError(f"this Python has no standard library sources in {sysconfig.get_path('stdlib')}")
    return Corpus("stdlib", (_shard(texts, "train"), _shard(texts, "validation")))


def split_of(name: str) -> Split:
    draw = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % 100
    return "validation" if draw < VALIDATION_PERCENT else "train"


def cut(text: str) -> Iterator[str]:
    """Documents of at most DOCUMENT_CHARS, cut at a blank line, else at a line's end, else anywhere."""
    while len(text) > DOCUMENT_CHARS:
        window = text[:DOCUMENT_CHARS]
        for separator in ("\n\n", "\n"):
            end = window.rfind(separator, DOCUMENT_CHARS // 4) + len(separator)
            if end >= len(separator):
                break
        else:
            end = DOCUMENT_CHARS
        yield text[:end]
        text = text[end:]
    if text:
        yield text


def _sources(directory: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(directory.rglob("*.py")):
        relative = path.relative_to(directory)
        if any(part.startswith(EXCLUDED) for part in relative.parts) or relative.name.startswith(EXCLUDED_FILES):
            continue
        # The library's own test data holds files in other encodings, some broken on purpose.
        yield relative.as_posix(), path.read_bytes().decode("utf-8", errors="replace")


def _topics() -> list[tuple[str, str]]:
    from pydoc_data.topics import topics

    return [(f"pydoc/{name}", text) for name, text in sorted(topics.items())]


def _shard(texts: list[tuple[str, str]], split: Split) -> CorpusShard:
    """Documents in the order of their hash: neighbours in a file are not neighbours in training."""
    cut_texts = ((f"{name}#{i}", text) for name, whole in texts for i, text in enumerate(cut(whole)))
    documents = [(name, text) for name, text in cut_texts if split_of(name.rpartition("#")[0]) == split]
    documents.sort(key=lambda document: hashlib.sha256(document[0].encode()).digest())
    digest, num_bytes = hashlib.sha256(), 0
    for name, text in documents:
        encoded = text.encode()
        digest.update(f"{name}\0{len(encoded)}\0".encode() + encoded)
        num_bytes += len(encoded)
    record = Shard(name=f"stdlib-{split}", split=split, num_bytes=num_bytes, sha256=digest.hexdigest())
    return CorpusShard(record, len(documents), partial(_documents, [text for _, text in documents]))


def _documents(texts: list[str]) -> Documents:
    for group, start in enumerate(range(0, len(texts), ROW_GROUP_DOCUMENTS)):
        yield group, texts[start : start + ROW_GROUP_DOCUMENTS]
