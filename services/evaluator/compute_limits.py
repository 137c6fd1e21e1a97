"""How long a recipe's process may take to load and to answer. Training is what the budget is for: a recipe that trained
on in load() or in its first logits() would get more of it than it says.

The evaluator measures with its own clock, around what it asks. Limits follow the machine (how long it took to open
the engine here, how fast the run trained) and the budget, so that slow disks and CPUs pass and the time that could be
stolen stays small: of a 300 s budget some 40 s, of an hour under 5 %.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

import numpy as np

from services.evaluator.forward_process import ForwardProcess
from shared.contracts import Job, Status, TrainingRecord
from shared.sandbox.launch import Ended

START_S = 15.0
"""interpreter, fence, imports and build() on a busy machine, beyond what opening the engine took here"""
OPENINGS = 3.0
"""times the evaluator's own opening of the engine: imports from a slow disk, start of a driver"""
LATER_LOAD_S = 5.0
FIRST_FORWARD_S = 15.0
"""kernels are compiled in the first pass"""
WEIGHTS_BYTES_PER_S = 50e6
"""a slow disk's rate"""
BUDGET_SHARE = 0.02
FORWARD_PER_TRAINING = 10.0
"""a token is scored without compilation, in rows longer than the training's, and yet forward only"""
FORWARD_PER_MEDIAN = 5.0
LOGITS_BYTES_PER_S = 2e9
"""the hand-over of a small model's logits through host memory takes longer than its mathematics"""


@dataclass(frozen=True)
class ComputeLimits:
    """Seconds. of_budget: the share of the training budget that every limit allows on top."""

    opening_s: float
    weights_s: float
    of_budget_s: float
    training_token_s: float | None
    """a token's time in training; None when the trainer left no record"""
    logits_token_s: float = 0.0

    @property
    def start_s(self) -> float:
        return START_S + OPENINGS * self.opening_s + self.weights_s + self.of_budget_s

    @property
    def later_load_s(self) -> float:
        return LATER_LOAD_S + self.weights_s + self.of_budget_s

    def first_forward_s(self, usual_s: float) -> float:
        return FIRST_FORWARD_S + self.of_budget_s + FORWARD_PER_MEDIAN * usual_s

    def forwards_s(self, num_tokens: int) -> float:
        if self.training_token_s is None:
            return float("inf")
        token_s = self.logits_token_s + FORWARD_PER_TRAINING * self.training_token_s
        return FIRST_FORWARD_S + self.of_budget_s + token_s * num_tokens


def compute_limits(
    job: Job, training: TrainingRecord | None, weights: Path, vocab_size: int, opening_s: float
) -> ComputeLimits:
    trained_s = training.training_seconds if training else 0.0
    measured = training is not None and training.total_tokens > 0 and trained_s > 0
    return ComputeLimits(
        opening_s=opening_s,
        weights_s=weights.stat().st_size / WEIGHTS_BYTES_PER_S,
        of_budget_s=BUDGET_SHARE * (job.budget.seconds or trained_s),
        training_token_s=trained_s / training.total_tokens if training and measured else None,
        logits_token_s=4 * vocab_size / LOGITS_BYTES_PER_S,
    )


@dataclass
class Spent:
    """Seconds that recipe processes took, in the order they lived."""

    loads: list[float] = field(default_factory=list)
    """each start, and each later load"""
    forwards: list[float] = field(default_factory=list)
    """all forward passes of each process together"""


class MeasuredProcess:
    """A recipe's process under the limits; a context manager as ForwardProcess is. Ended when one is exceeded."""

    def __init__(self, process: AbstractContextManager[ForwardProcess], limits: ComputeLimits, spent: Spent):
        self._starting, self.limits, self.spent = process, limits, spent
        self._forwards: list[float] = []

    def __enter__(self) -> "MeasuredProcess":
        started = monotonic()
        self.process = self._starting.__enter__()
        try:
            assert self.process.serving
            self._loaded("starting and loading", monotonic() - started, self.limits.start_s)
        except BaseException:
            self._starting.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self.spent.forwards.append(sum(self._forwards))
        self._starting.__exit__(*error)

    @property
    def batch_size(self) -> int:
        return len(self.process.tokens_BT)

    def load(self, weights: Path) -> None:
        started = monotonic()
        self.process.load(weights)
        self._loaded("load()", monotonic() - started, self.limits.later_load_s)

    def logits(self, tokens_nT: np.ndarray) -> Any:
        started = monotonic()
        logits = self.process.logits(tokens_nT)
        self._forwards.append(monotonic() - started)
        self._check_forwards()
        return logits

    def _loaded(self, what: str, seconds: float, limit_s: float) -> None:
        self.spent.loads.append(seconds)
        _within(what, seconds, limit_s)

    def _check_forwards(self) -> None:
        num_tokens = len(self._forwards) * self.process.tokens_BT.size
        _within("all passes of logits()", sum(self._forwards), self.limits.forwards_s(num_tokens))
        if len(self._forwards) > 3:
            _within(
                "the first pass of logits()",
                self._forwards[0],
                self.limits.first_forward_s(median(self._forwards[1:])),
            )


def _within(what: str, seconds: float, limit_s: float) -> None:
    if seconds > limit_s:
        raise Ended(Status.REJECTED, f"compute: {what} took {seconds:.1f} s, more than {limit_s:.1f} s")
