"""The budget as the loop sees it: progress in [0, 1] and when to stop.

The supervisor keeps its own clock outside this process and rejects a run whose two clocks disagree, so
nothing is gained by patching this one.
"""

from collections.abc import Callable
from time import monotonic

from shared.contracts import Budget

LONGEST_OVERRUN_S = 2.0
"""planned; the supervisor ends a run that is still training twice as long after its budget"""
OVERRUN_SHARE = 0.005
"""of the budget, planned: the length of a step is the recipe's own, and must not buy it time"""


class BudgetClock:
    """Spent training seconds and tokens, carried over from a checkpoint.

    reserve_s: the end of a time budget that is kept free for handing the weights over.
    """

    def __init__(
        self,
        budget: Budget,
        spent_seconds: float,
        tokens: int,
        reserve_s: float = 0.0,
        now: Callable[[], float] = monotonic,
    ):
        self.budget = budget
        self.tokens = tokens
        self.usable_s = max((budget.seconds or 0.0) - reserve_s, 1e-9)
        self._now = now
        self._origin = now() - spent_seconds

    @property
    def seconds(self) -> float:
        return self._now() - self._origin

    @property
    def progress(self) -> float:
        if self.budget.tokens is not None:
            return min(self.tokens / self.budget.tokens, 1.0)
        return min(self.seconds / self.usable_s, 1.0)

    def is_over(self, step_seconds: float, in_flight_seconds: float) -> bool:
        """True when one more step would end further from the budget than stopping now, or too long after it.

        step_seconds: how long a step takes; in_flight_seconds: work already given to the device and not done.
        A long step may take longer than the last one did, so half of what it has over twice the limit is left free.
        """
        if self.budget.tokens is not None:
            return self.tokens >= self.budget.tokens
        overrun = min(step_seconds / 2, LONGEST_OVERRUN_S, OVERRUN_SHARE * (self.budget.seconds or 0.0))
        spread = (step_seconds / 2 - overrun) / 2
        return self.seconds + in_flight_seconds + step_seconds + spread >= self.usable_s + overrun
