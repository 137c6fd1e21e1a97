"""The form of val_bpb as a function of shape and tokens, with what was believed of its parameters before any row.

    raw = E + ((A N^-a)^p + (B D'^-b)^p)^(1/p) + F s^-f + c (sqrt(2048 / seq_len) - 1) + h log(seq_len / 512) s^-r + w S
    D'  = D / (1 + g (batch / best + best / batch)),  best = batch_best D^0.6
    val_bpb = (raw^-5 + 3.2^-5)^(-1/5)

N: weights of the blocks in 10 millions, with a tenth of the embeddings'; D: tokens, in 50 millions for B, 500 millions
for batch_best; s: optimizer steps in hundreds; S: share of layers with half windows. p = 1 is Hoffmann et al.'s sum
(arXiv 2203.15556), p = 1 / b Kaplan et al.'s (2001.08361). F is what is not learned yet after few steps, whatever the
model's size, h what long rows cost until then: both were measured on two texts (docs/preset-calibration.md). A batch
above the best wastes tokens (McCandlish et al., 1812.06162), one below it is too noisy for the recipe's learning
rates. nanochat's best grows with D^0.383, Step Law's with D^0.571 (2503.04715); m5-tiny's on a CPU was about 3,000
tokens at D = 1.8 millions (docs/preset-calibration.md), which asks for 0.6 or a smaller batch_best.
3.2 is what an untrained model of 8,192 tokens scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shared.contracts import Shape
from shared.quality.model_size import model_size, window_sizes

EVAL_SEQ_LEN = 2048
LEAST_BPB = 0.05
"""parameters that a fit tries may make the sum negative"""
UNTRAINED_BPB, BEND = 3.2, 5
BEST_BATCH_GROWTH = 0.6
MIDDLE_SEQ_LEN = 512
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
    Parameter("log F", np.log(0.24), 0.3),
    Parameter("f", 0.5, 0.15),
    Parameter("c", 0.04, 0.025),
    Parameter("h", 0.08, 0.03),
    Parameter("r", 0.2, 0.15),
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
    shapes = np.array([_of_shape(shape, vocab_size) for shape, _ in shapes_and_tokens]).reshape(-1, 5)
    tokens = np.array([max(tokens, 1) for _, tokens in shapes_and_tokens], dtype=float)
    return Points(*np.vstack((shapes.T, np.log(tokens))))


@lru_cache(maxsize=1 << 14)
def _of_shape(shape: Shape, vocab_size: int) -> tuple[float, ...]:
    """A search asks for the same thousands of shapes after every probe."""
    size = model_size(shape, vocab_size)
    halves = sum(window < shape.seq_len for window in window_sizes(shape)) / shape.depth
    return (
        np.log((size.block_params + TABLE_SHARE * (size.num_params - size.block_params)) / 1e7),
        np.log(shape.d_model / shape.depth),
        np.log(shape.seq_len),
        halves,
        np.log(shape.total_batch_size),
    )


def law(parameters: np.ndarray, points: Points) -> np.ndarray:
    """val_bpb [n] of the climbmix corpus for one value of every parameter."""
    return _Terms(parameters, points).val_bpb


def slopes(parameters: np.ndarray, points: Points) -> np.ndarray:
    """Derivatives of the law by each parameter, [n, number of parameters]."""
    return _Terms(parameters, points).slopes()


class _Terms:
    """The summands of `raw` at each point, each an array [n]."""

    def __init__(self, parameters: np.ndarray, points: Points):
        E, log_A, a, log_B, b, log_p, log_F, f, c, h, r, w, log_best, log_g = parameters
        above_best = points.log_batch - log_best - BEST_BATCH_GROWTH * (points.log_tokens - np.log(5e8))
        self.above, self.below = np.exp(log_g + above_best), np.exp(log_g - above_best)
        self.wasted = 1 + self.above + self.below
        log_useful = points.log_tokens - np.log(self.wasted)
        self.params, self.data = points.log_params, log_useful - np.log(5e7)
        self.steps = points.log_tokens - points.log_batch - np.log(100)
        self.a, self.b, self.p, self.h = a, b, np.exp(log_p), h
        self.log_size, self.log_data = log_A - a * self.params, log_B - b * self.data
        size, data = np.exp(self.p * self.log_size), np.exp(self.p * self.log_data)
        self.share_of_size = size / (size + data)
        self.log_learned = np.log(size + data) / self.p
        self.learned = np.exp(self.log_learned)
        self.early = np.exp(log_F - f * self.steps)
        self.long = (points.log_seq - np.log(MIDDLE_SEQ_LEN)) * np.exp(-r * self.steps)
        self.short = np.sqrt(EVAL_SEQ_LEN / np.minimum(np.exp(points.log_seq), EVAL_SEQ_LEN)) - 1
        self.half_windows = points.half_windows
        raw = E + self.learned + self.early + c * self.short + h * self.long + w * self.half_windows
        self.raw = np.maximum(raw, LEAST_BPB)
        self.bend = (UNTRAINED_BPB / self.raw) ** BEND
        self.val_bpb = UNTRAINED_BPB * (1 + self.bend) ** (-1 / BEND)

    def slopes(self) -> np.ndarray:
        of_size, of_data = self.learned * self.share_of_size, self.learned * (1 - self.share_of_size)
        by_useful = -self.b * of_data
        mixed = self.share_of_size * self.log_size + (1 - self.share_of_size) * self.log_data
        columns = (
            np.ones_like(self.raw),  # E
            of_size,  # log A
            -of_size * self.params,  # a
            of_data,  # log B
            -of_data * self.data,  # b
            self.learned * (mixed - self.log_learned),  # log p
            self.early,  # log F
            -self.early * self.steps,  # f
            self.short,  # c
            self.long,  # h
            -self.h * self.long * self.steps,  # r
            self.half_windows,  # w
            by_useful * (self.above - self.below) / self.wasted,  # log batch_best
            -by_useful * (self.above + self.below) / self.wasted,  # log g
        )
        by_raw = self.val_bpb / (1 + self.bend) * self.bend / self.raw
        return np.stack(columns, axis=-1) * by_raw[:, None]
