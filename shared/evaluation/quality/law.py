"""The form of val_bpb as a function of shape and tokens, with what was believed of its parameters before any row.

    raw = E + ((A N^-a)^p + (B D'^-b)^p)^(1/p) + F (N / D')^f + T D^-1.5 + c (sqrt(2048 / seq_len) - 1) + w S
    D'  = D / (1 + g (batch / best + best / batch)),  best = batch_best D^0.45
    val_bpb = (raw^-5 + 3.2^-5)^(-1/5)

N: weights of the blocks in 10 millions, with a tenth of the embeddings'; D: tokens, in 50 millions for B, 5 millions
for F, 30,000 for T, 500 millions for batch_best; S: share of layers with half windows. p = 1 is Hoffmann et al.'s sum
(arXiv 2203.15556), p = 1 / b Kaplan et al.'s (2001.08361). F is what a model pays that saw few tokens for its size, T
the first steps. A batch above the best wastes tokens (McCandlish et al., 1812.06162), one below it is too noisy for the
recipe's learning rates; nanochat's best grows with D^0.383. 3.2 is what an untrained model of 8,192 tokens scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.contracts import Shape
from shared.evaluation.model_size import model_size, window_sizes

EVAL_SEQ_LEN = 2048
UNTRAINED_BPB, BEND = 3.2, 5
BEST_BATCH_GROWTH, FIRST_STEPS = 0.45, 1.5
TABLE_SHARE = 0.1
"""how much a weight of the embeddings and the head counts beside one of the blocks"""


@dataclass(frozen=True)
class Parameter:
    name: str
    mean: float
    sd: float


# Amplitudes are logarithms: they are positive, and known by their factor. The means of E to c were rounded from the
# published rows, batch_best and g from what others report of halving batches; the widths say how little that is.
PARAMETERS = (
    Parameter("E", 0.62, 0.10),
    Parameter("log A", np.log(0.36), 0.4),
    Parameter("a", 0.31, 0.08),
    Parameter("log B", np.log(0.40), 0.4),
    Parameter("b", 0.20, 0.07),
    Parameter("log p", np.log(2.0), 0.3),
    Parameter("log F", np.log(0.06), 0.6),
    Parameter("f", 0.8, 0.25),
    Parameter("log T", np.log(0.6), 0.5),
    Parameter("c", 0.04, 0.025),
    Parameter("w", 0.000, 0.008),
    Parameter("log batch_best", np.log(1.0e5), 0.8),
    Parameter("log g", np.log(0.25), 0.6),
)
PRIOR_MEAN = np.array([parameter.mean for parameter in PARAMETERS])
PRIOR_SD = np.array([parameter.sd for parameter in PARAMETERS])


@dataclass(frozen=True)
class Points:
    """What the law and the deviations from it look at; arrays [n]."""

    log_params: np.ndarray
    """natural logarithm of N"""
    log_aspect: np.ndarray
    """of d_model / depth"""
    log_seq: np.ndarray
    half_windows: np.ndarray
    """share of the layers"""
    log_batch: np.ndarray
    """of tokens in one optimizer step"""
    log_tokens: np.ndarray

    def __len__(self) -> int:
        return len(self.log_tokens)

    @property
    def shapes(self) -> np.ndarray:
        """All but the tokens, [n, 5]."""
        return np.stack((self.log_params, self.log_aspect, self.log_seq, self.half_windows, self.log_batch), axis=-1)


def points_of(shapes_and_tokens: Sequence[tuple[Shape, int]], vocab_size: int) -> Points:
    columns = np.array([_point(shape, tokens, vocab_size) for shape, tokens in shapes_and_tokens]).reshape(-1, 6)
    return Points(*columns.T)


def _point(shape: Shape, num_tokens: int, vocab_size: int) -> tuple[float, ...]:
    size = model_size(shape, vocab_size)
    halves = sum(window < shape.seq_len for window in window_sizes(shape)) / shape.depth
    return (
        np.log((size.block_params + TABLE_SHARE * (size.num_params - size.block_params)) / 1e7),
        np.log(shape.d_model / shape.depth),
        np.log(shape.seq_len),
        halves,
        np.log(shape.total_batch_size),
        np.log(max(num_tokens, 1)),
    )


def law(parameters: np.ndarray, points: Points) -> np.ndarray:
    """val_bpb [n] of the climbmix corpus for one value of every parameter (complex ones too, see `slopes`)."""
    E, log_A, a, log_B, b, log_p, log_F, f, log_T, c, w, log_best, log_g = parameters
    above_best = points.log_batch - log_best - BEST_BATCH_GROWTH * (points.log_tokens - np.log(5e8))
    log_useful = points.log_tokens - np.log(1 + np.exp(log_g) * (np.exp(above_best) + np.exp(-above_best)))
    log_size, log_data = log_A - a * points.log_params, log_B - b * (log_useful - np.log(5e7))
    p = np.exp(log_p)
    raw = (
        E
        + np.exp(np.log(np.exp(p * log_size) + np.exp(p * log_data)) / p)
        + np.exp(log_F + f * (points.log_params - log_useful + np.log(5e6)))
        + np.exp(log_T - FIRST_STEPS * (points.log_tokens - np.log(3e4)))
        + c * (np.sqrt(EVAL_SEQ_LEN / np.minimum(np.exp(points.log_seq), EVAL_SEQ_LEN)) - 1)
        + w * points.half_windows
    )
    return UNTRAINED_BPB * (1 + (UNTRAINED_BPB / raw) ** BEND) ** (-1 / BEND)


def slopes(parameters: np.ndarray, points: Points) -> np.ndarray:
    """Derivatives of the law by each parameter, [n, number of parameters], exact to rounding (complex step)."""
    step = 1e-30
    moved = parameters + 1j * step * np.eye(len(parameters))
    return np.stack([law(values, points).imag / step for values in moved], axis=-1)
