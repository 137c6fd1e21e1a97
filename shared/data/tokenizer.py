"""The tokenizer artifact: a JSON file with the split pattern, the special tokens and the merge ranks in order.

Reading it and counting bytes needs no tokenizer library; tiktoken is imported only when text is encoded.
services/prepare/tokenizer_training.py writes one, docs/data.md says why a fleet shares it.
"""

import base64
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shared.files import sha256_bytes, write_atomic

if TYPE_CHECKING:
    import tiktoken

FILE_NAME = "tokenizer.json"
# Token ids are stored as uint16.
MAX_VOCAB_SIZE = 2**16


@dataclass(frozen=True)
class Tokenizer:
    """Token id i < len(ranks) stands for the bytes ranks[i]; the specials follow, the first one is BOS."""

    pattern: str
    ranks: tuple[bytes, ...]
    specials: tuple[str, ...]

    @property
    def vocab_size(self) -> int:
        return len(self.ranks) + len(self.specials)

    @property
    def bos(self) -> int:
        return len(self.ranks)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the canonical content: equal exactly when every text gets equal tokens."""
        return sha256_bytes(json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode())

    def token_bytes(self) -> np.ndarray:
        """Bytes each token stands for, int32 [vocab_size], 0 for specials: the denominator of val_bpb."""
        return self._per_token(len(rank) for rank in self.ranks)

    def token_bytes_upstream(self) -> np.ndarray:
        """As karpathy/autoresearch counts, int32 [vocab_size]: a partial UTF-8 sequence counts as the
        replacement characters it decodes to, 3 bytes each (its issue #384)."""
        return self._per_token(len(rank.decode("utf-8", errors="replace").encode()) for rank in self.ranks)

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Raw bytes of a sequence of token ids; specials give nothing."""
        return b"".join(self.ranks[token] for token in tokens if token < len(self.ranks))

    def encoding(self) -> "tiktoken.Encoding":
        """The encoder. Imports tiktoken; takes a fraction of a second."""
        import tiktoken

        return tiktoken.Encoding(
            name=f"are-{self.fingerprint[:12]}",
            pat_str=self.pattern,
            mergeable_ranks={rank: token for token, rank in enumerate(self.ranks)},
            special_tokens={special: self.bos + i for i, special in enumerate(self.specials)},
        )

    def save(self, directory: Path) -> Path:
        path = directory / FILE_NAME
        write_atomic(path, json.dumps({**self._content(), "fingerprint": self.fingerprint}, indent=1) + "\n")
        return path

    def _per_token(self, sizes: Iterable[int]) -> np.ndarray:
        return np.array([*sizes, *(0 for _ in self.specials)], dtype=np.int32)

    def _content(self) -> dict:
        ranks = [base64.b64encode(rank).decode() for rank in self.ranks]
        return {"pattern": self.pattern, "specials": list(self.specials), "ranks": ranks}


def load_tokenizer(directory: Path) -> Tokenizer:
    """The artifact in `directory`. ValueError when it is missing, damaged or too large for uint16 tokens."""
    path = directory / FILE_NAME
    try:
        tokenizer, recorded = _parse(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: a tokenizer artifact is a directory that holds {FILE_NAME}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a tokenizer artifact ({error}): delete it and prepare again") from None
    if tokenizer.fingerprint != recorded:
        raise ValueError(f"{path} does not match its own fingerprint: it was damaged, delete it and prepare again")
    _check(tokenizer, path)
    return tokenizer


def _parse(content: dict) -> tuple[Tokenizer, str]:
    ranks = tuple(base64.b64decode(rank, validate=True) for rank in content["ranks"])
    return Tokenizer(str(content["pattern"]), ranks, tuple(content["specials"])), content["fingerprint"]


def _check(tokenizer: Tokenizer, path: Path) -> None:
    if not tokenizer.specials:
        raise ValueError(f"{path} has no special token, but every document starts with one")
    if len(set(tokenizer.ranks)) != len(tokenizer.ranks):
        raise ValueError(f"{path} holds the same bytes under two tokens")
    if tokenizer.vocab_size > MAX_VOCAB_SIZE:
        raise ValueError(f"{path} has {tokenizer.vocab_size} tokens; at most {MAX_VOCAB_SIZE} fit the row format")
