"""How long a recipe's process may take to load and to answer. Training is what the budget is for: a recipe that trained
on in build(), load() or logits(), on rows kept in its weights, would get more of it than it says.

Two limits. Beyond what no honest recipe needs, the run is rejected. Long before that, what may have been training
counts as training time in the ranking (EvaluationRecord.outside_seconds): a slow first call costs a short run its rank,
not its number.

The evaluator measures with its own clock. The time from the start of a process (or of what it is a fork of, see
shared/sandbox/nursery.py) until the engine is open is spent by our own code alone, before the recipe is imported: it
tells how slow this machine is today, and the limits follow it.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median_low
from time import monotonic
from typing import Any

import numpy as np

from services.evaluator.forward_process import ForwardProcess
from shared.contracts import Job, Status, TrainingRecord
from shared.machine.device import Device
from shared.sandbox.launch import Ended

LOAD_S, OPENINGS = 3.0, 1.0
"""build() and load() beyond the weights, in seconds and in times the opening of the engine"""
FORWARD_S, FORWARD_OPENINGS, FORWARD_SHARE = 5.0, 0.5, 0.1
"""what passes may take beyond twice the usual one, all together; the share is of the time of all passes"""
UNUSUAL = 2.0
KERNELS_S = 30.0
"""compiling and probing kernels on a GPU"""
METAL_KERNELS_S = 10.0
"""the same on an Apple chip, whose frameworks bring most kernels compiled"""
COMPILES_S = 1.0
"""a call that takes longer may be compiling; of shorter ones the driver's reading says too little"""
WEIGHTS_BYTES_PER_S = 50e6
"""a slow disk's rate"""
FREE_S, FREE_SHARE, FREE_OPENINGS = 0.25, 0.025, 0.05
"""of loading and answering together, what is no reason to think of training: seconds, of the budget at most"""
BUDGET_SHARE = 0.01
WEIGHTS_SHARE = 0.005
"""of the budget, the most that weights excuse when it is asked how long was trained: a state padded with zeros costs a
training run next to nothing"""
LESSONS = 3
"""longest passes that no other ones excuse: who goes on learning in more of them answered some rows before it knew what
it knows later, and an audit would be told something else"""
USUAL_PER_TRAINING, USUAL_SHARE = 3.0, 0.01
"""a usual pass may take so many times its tokens' time in training, and that part of the budget, before it counts as
training: a recipe could train anew in every call"""
USUAL_S, USUAL_SHORT_SHARE = 0.5, 0.05
"""or so many seconds, of a short budget that part: a slow machine takes as long for two rows of a small model"""
FORWARD_PER_TRAINING = 10.0
"""a token is scored without compilation, in rows longer than the training's, and yet forward only"""
ALL_FORWARDS_S = 15.0
LOGITS_BYTES_PER_S = 2e9
"""the hand-over of a small model's logits through host memory takes longer than its mathematics"""


@dataclass(frozen=True)
class ComputeLimits:
    """Seconds. opening_s, in all of them: how long this process took to open the engine."""

    kernels_s: float
    """of these, GpuTime excuses what the GPU was idle, where its driver tells"""
    weights_s: float
    of_budget_s: float
    training_token_s: float | None
    """a token's time in training, as the run reported it; None when the trainer left no record"""
    logits_token_s: float = 0.0
    unseen_kernels_s: float = 0.0
    """what kernels_s excuses where nobody tells whether the GPU computed"""

    def load_s(self, opening_s: float) -> float:
        return LOAD_S + OPENINGS * opening_s + self.kernels_s + self.weights_s + self.of_budget_s

    def unusual_s(self, opening_s: float, all_s: float) -> float:
        """Of all passes together, beyond UNUSUAL times the usual pass each."""
        return FORWARD_S + FORWARD_OPENINGS * opening_s + self.kernels_s + self.of_budget_s + FORWARD_SHARE * all_s

    def free_s(self, opening_s: float) -> float:
        return min(FREE_S, self._of_budget(FREE_SHARE)) + FREE_OPENINGS * opening_s + self.unseen_kernels_s

    def excused_weights_s(self) -> float:
        return min(self.weights_s, self._of_budget(WEIGHTS_SHARE))

    def usual_s(self, num_tokens: int) -> float:
        """Of the usual pass, in which nothing is compiled. The share holds what a recipe gets from reporting fewer
        tokens than it trained on."""
        share_s = max(self._of_budget(USUAL_SHARE), min(USUAL_S, self._of_budget(USUAL_SHORT_SHARE)))
        if self.training_token_s is None:
            return share_s
        token_s = self.logits_token_s + USUAL_PER_TRAINING * self.training_token_s
        return min(share_s, token_s * num_tokens)

    def _of_budget(self, share: float) -> float:
        return share / BUDGET_SHARE * self.of_budget_s

    def all_s(self, num_tokens: int) -> float:
        if self.training_token_s is None:
            return float("inf")
        token_s = self.logits_token_s + FORWARD_PER_TRAINING * self.training_token_s
        return ALL_FORWARDS_S + self.kernels_s + self.of_budget_s + token_s * num_tokens


def compute_limits(
    job: Job, training: TrainingRecord | None, weights: Path, vocab_size: int, *, gpu_seen: bool = False
) -> ComputeLimits:
    """gpu_seen: its driver tells how long the device computed."""
    trained_s = training.training_seconds if training else 0.0
    measured = training is not None and training.total_tokens > 0 and trained_s > 0
    device = Device.parse(job.device)
    kernels_s = 0.0 if device.is_cpu else METAL_KERNELS_S if device.is_apple else KERNELS_S
    return ComputeLimits(
        kernels_s=kernels_s,
        unseen_kernels_s=0.0 if gpu_seen else kernels_s,
        weights_s=weights.stat().st_size / WEIGHTS_BYTES_PER_S,
        of_budget_s=BUDGET_SHARE * (job.budget.seconds or trained_s),
        training_token_s=trained_s / training.total_tokens if training and measured else None,
        logits_token_s=4 * vocab_size / LOGITS_BYTES_PER_S,
    )


@dataclass
class Spent:
    """Seconds that recipe processes took, in the order they lived."""

    loads: list[float] = field(default_factory=list)
    """recipe's import, build() and load() of each process, and each later load"""
    forwards: list[float] = field(default_factory=list)
    """all forward passes of each process together"""
    scattered: list[float] = field(default_factory=list)
    """of each process, what may have been training outside the budget, without a tenth of all passes: their noise"""
    at_once: list[float] = field(default_factory=list)
    """the same in load() and the longest passes alone, where noise excuses nothing"""

    @property
    def outside(self) -> float:
        """The first process is scored. One that audits is shown altered rows first, of which nobody asks
        whether it answers them as others would: there it could learn little by little."""
        return max([0.0, *self.scattered, *self.at_once[:1]])


class GpuTime:
    """What calls took, without the time in which the GPU was idle because kernels were compiled, of which a process has
    `left_s`. busy_s: how long the GPU computed so far; None where nobody knows, and then nothing is excused here.
    """

    def __init__(self, busy_s: Callable[[], float | None], left_s: float):
        self._busy_s, self._left_s = busy_s, left_s
        self._begun: float | None = None

    def begin(self) -> None:
        self._begun = self._busy_s()

    def counted(self, seconds: float) -> float:
        """Of the call that was begun last."""
        now = self._busy_s()
        if now is None or self._begun is None or seconds < COMPILES_S:
            return seconds
        idle_s = min(self._left_s, max(0.0, seconds - (now - self._begun)))
        self._left_s -= idle_s
        return seconds - idle_s


class MeasuredProcess:
    """A recipe's process under the limits; a context manager as ForwardProcess is. Ended when one is exceeded.

    gpu_busy_s: as GpuTime.
    """

    def __init__(
        self,
        process: AbstractContextManager[ForwardProcess],
        limits: ComputeLimits,
        spent: Spent,
        on_pass: Callable[[], None] = lambda: None,
        gpu_busy_s: Callable[[], float | None] = lambda: None,
    ):
        self._starting, self.limits, self.spent, self.on_pass = process, limits, spent, on_pass
        self._forwards: list[float] = []
        self._counted: list[float] = []
        """of each pass, what may have been training"""
        self._gpu = GpuTime(gpu_busy_s, limits.kernels_s)
        self.opening_s = self._load_s = 0.0

    def __enter__(self) -> "MeasuredProcess":
        self.process = self._starting.__enter__()
        try:
            started = monotonic()
            self.process.await_opened()
            opened = monotonic()
            self.opening_s = self.process.import_s + opened - started
            self._gpu.begin()
            assert self.process.serving
            load_s = monotonic() - opened
            self._load_s = self._gpu.counted(load_s)
            self._loaded("build() and load()", load_s)
            self._pass(self.process.warm_up)
            self.process.limit_traces()
        except BaseException:
            self._starting.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *error: Any) -> None:
        self.spent.forwards.append(sum(self._forwards))
        loading_s = self._load_s - self.limits.excused_weights_s()
        usual_s = median_low(self._counted) if self._counted else 0.0
        every_pass_s = usual_s - self.limits.usual_s(self.process.tokens_BT.size)
        answering_s = _beyond_usual_s(self._counted) - FORWARD_SHARE * sum(self._counted)
        longest_s = self._longest_beyond_s(usual_s + min(usual_s, FREE_S))
        self.spent.scattered.append(self._beyond_free_s(loading_s, every_pass_s, answering_s))
        self.spent.at_once.append(self._beyond_free_s(loading_s, every_pass_s, longest_s))
        self._starting.__exit__(*error)

    def _beyond_free_s(self, *parts_s: float) -> float:
        return max(0.0, sum(max(0.0, seconds) for seconds in parts_s) - self.limits.free_s(self.opening_s))

    def _longest_beyond_s(self, allowed_s: float) -> float:
        longest = sorted(self._counted)[-LESSONS:]
        return sum(max(0.0, seconds - allowed_s) for seconds in longest)

    @property
    def batch_size(self) -> int:
        return len(self.process.tokens_BT)

    def load(self, weights: Path) -> None:
        started = monotonic()
        self.process.load(weights)
        self._loaded("load()", monotonic() - started)

    def logits(self, tokens_nT: np.ndarray) -> Any:
        logits = self._pass(lambda: self.process.logits(tokens_nT))
        self.on_pass()
        return logits

    def _pass(self, ask: Callable[[], Any]) -> Any:
        self._gpu.begin()
        started = monotonic()
        answer = ask()
        self._forwards.append(monotonic() - started)
        self._counted.append(self._gpu.counted(self._forwards[-1]))
        self._check_forwards()
        return answer

    def _loaded(self, what: str, seconds: float) -> None:
        self.spent.loads.append(seconds)
        _within(what, seconds, self.limits.load_s(self.opening_s))

    def _check_forwards(self) -> None:
        all_s = sum(self._forwards)
        num_tokens = len(self._forwards) * self.process.tokens_BT.size
        _within("all passes of logits()", all_s, self.limits.all_s(num_tokens))
        if len(self._forwards) > 3:
            allowed_s = self.limits.unusual_s(self.opening_s, all_s)
            _within("unusually long passes of logits()", _beyond_usual_s(self._forwards), allowed_s)


def _beyond_usual_s(passes_s: list[float]) -> float:
    usual_s = UNUSUAL * median_low(passes_s) if passes_s else 0.0
    return sum(max(0.0, seconds - usual_s) for seconds in passes_s)


def _within(what: str, seconds: float, limit_s: float) -> None:
    if seconds > limit_s:
        raise Ended(Status.REJECTED, f"compute: {what} took {seconds:.1f} s, more than {limit_s:.1f} s")
