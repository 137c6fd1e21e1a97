"""From logits to bits per byte. The cross-entropy is computed here, in float32, from logits alone."""

import math
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from services.evaluator.forward_process import ForwardProcess, batches
from shared.contracts import Status
from shared.data.rows import Rows
from shared.engines import Engine
from shared.sandbox.launch import Ended


@dataclass(frozen=True)
class Scores:
    """Of `indices` into the validation rows: cross-entropy and log-sum-exp in nats, float32 [N, T]."""

    indices: np.ndarray
    nats_NT: np.ndarray
    lse_NT: np.ndarray
    seconds: float


def score_rows(process: ForwardProcess, engine: Engine, rows: Rows, indices: np.ndarray, batch_size: int) -> Scores:
    """Ended with status rejected when a logit or a probability is not finite."""
    assert process.serving, "loading is not part of the time measured here"
    started = perf_counter()
    parts = [score_tokens(process, engine, take(rows, chosen)) for chosen in batches(indices, batch_size)]
    nats_NT = np.concatenate([nats for nats, _ in parts])
    lse_NT = np.concatenate([lse for _, lse in parts])
    return Scores(indices, nats_NT, lse_NT, perf_counter() - started)


def take(rows: Rows, indices: np.ndarray) -> np.ndarray:
    """uint16 [n, T + 1]"""
    return rows.tokens[indices]


def score_tokens(
    process: ForwardProcess, engine: Engine, rows_nT1: np.ndarray, targets_nT: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """rows [n, T + 1] -> nats and log-sum-exp [n, T]; targets default to the rows' own next tokens."""
    targets_nT = rows_nT1[:, 1:] if targets_nT is None else targets_nT
    nats, lse = engine.token_nats(process.logits(rows_nT1[:, :-1]), targets_nT)
    if not (np.isfinite(nats).all() and np.isfinite(lse).all()):
        raise Ended(Status.REJECTED, "finite: logits() gave values whose softmax is not finite")
    return nats, lse


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
