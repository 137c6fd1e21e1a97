"""From logits to bits per byte. The cross-entropy is computed here, in float32, from logits alone."""

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from services.evaluator.forward_process import batches
from shared.contracts import Status
from shared.data.rows import Rows
from shared.engines import LARGEST_LOGIT, Engine
from shared.sandbox.launch import Ended


@dataclass(frozen=True)
class Scores:
    """Of `indices` into the validation rows: nats of the targets and of the most likely tokens, float32 [N, T]."""

    indices: np.ndarray
    nats_NT: np.ndarray
    mode_NT: np.ndarray
    seconds: float


class Forward(Protocol):
    """What scoring needs of a recipe's process."""

    def logits(self, tokens_nT: np.ndarray) -> Any:
        """tokens [n, T] -> logits [n, T, V], good until the next call"""


def score_rows(process: Forward, engine: Engine, rows: Rows, indices: np.ndarray, batch_size: int) -> Scores:
    """Ended with status rejected when a logit is not finite or too large."""
    started = perf_counter()
    parts = [score_tokens(process, engine, take(rows, chosen)) for chosen in batches(indices, batch_size)]
    nats_NT = np.concatenate([nats for nats, _ in parts])
    mode_NT = np.concatenate([mode for _, mode in parts])
    return Scores(indices, nats_NT, mode_NT, perf_counter() - started)


def take(rows: Rows, indices: np.ndarray) -> np.ndarray:
    """uint16 [n, T + 1]"""
    return rows.tokens[indices]


def score_tokens(
    process: Forward, engine: Engine, rows_nT1: np.ndarray, targets_nT: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """rows [n, T + 1] -> nats of the targets and of the mode [n, T]; targets default to the rows' own next tokens."""
    targets_nT = rows_nT1[:, 1:] if targets_nT is None else targets_nT
    nats, mode = engine.token_nats(process.logits(rows_nT1[:, :-1]), targets_nT)
    # false for NaN; nats below 0 would be more than certainty
    if not ((nats >= 0).all() and (mode >= 0).all()):
        raise Ended(Status.REJECTED, f"finite: logits() gave values beyond +-{LARGEST_LOGIT:g} or not finite")
    return nats, mode


@dataclass(frozen=True)
class BitsPerByte:
    total_nats: float
    total_bytes: int

    @property
    def value(self) -> float:
        return self.total_nats / (math.log(2) * self.total_bytes)


def bits_per_byte(nats_NT: np.ndarray, targets_NT: np.ndarray, token_bytes_V: np.ndarray) -> BitsPerByte:
    """Special tokens have no bytes: they count in neither sum."""
    bytes_NT = token_bytes_V[targets_NT]
    nats = nats_NT.astype(np.float64)[bytes_NT > 0].sum()
    return BitsPerByte(float(nats), int(bytes_NT.sum(dtype=np.int64)))
