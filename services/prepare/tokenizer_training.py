"""Trains the BPE tokenizer with rustbpe on training documents. Encoding and the artifact: shared/data/tokenizer.py."""

from collections.abc import Iterator

import rustbpe

from services.prepare.corpora import CorpusShard
from services.prepare.report import Advance, Report
from shared.data.tokenizer import Tokenizer

VOCAB_SIZE = 8192
SPECIALS = tuple(f"<|reserved_{i}|>" for i in range(4))
# GPT-4's split pattern with numbers in groups of up to two digits, as karpathy/autoresearch uses it.
PATTERN = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}"
    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
)
MAX_DOCUMENT_CHARS = 10_000
MAX_CHARS = 1_000_000_000


def train_tokenizer(shards: list[CorpusShard], report: Report, whole: bool = False) -> Tokenizer:
    """8192 tokens with the specials; fewer, and said so, when the documents do not hold that many merges.

    whole: of every document all of it, not its beginning alone.
    """
    trainer = rustbpe.Tokenizer()
    num_documents = sum(shard.num_documents for shard in shards)
    with report.stage("tokenizer: training", num_documents, "documents") as advance:
        trainer.train_from_iterator(training_texts(shards, advance, whole), VOCAB_SIZE - len(SPECIALS), pattern=PATTERN)
    ranks = sorted(trainer.get_mergeable_ranks(), key=lambda pair: pair[1])
    assert [rank for _, rank in ranks] == list(range(len(ranks))), "ranks are the token ids"
    tokenizer = Tokenizer(trainer.get_pattern(), tuple(bytes(token) for token, _ in ranks), SPECIALS)
    report.say(f"tokenizer: trained, {tokenizer.vocab_size:,} tokens, {tokenizer.fingerprint[:12]}")
    if tokenizer.vocab_size < VOCAB_SIZE:
        report.say(f"tokenizer: smaller than {VOCAB_SIZE:,} tokens, because the corpus has no more pairs to merge")
    return tokenizer


def training_texts(
    shards: list[CorpusShard], advance: Advance, whole: bool = False, max_chars: int = MAX_CHARS
) -> Iterator[str]:
    """The beginning of every training document, or all of it in pieces, until `max_chars` characters were given."""
    num_chars = 0
    for shard in shards:
        for _, documents in shard.documents():
            advance(len(documents))
            for document in documents:
                last = len(document) if whole else 1
                for start in range(0, last, MAX_DOCUMENT_CHARS):
                    text = document[start : start + MAX_DOCUMENT_CHARS]
                    num_chars += len(text)
                    yield text
                    if num_chars >= max_chars:
                        return
