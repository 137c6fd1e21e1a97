"""The budget as the loop sees it: progress in [0, 1] and when to stop.

The supervisor keeps its own clock outside this process and rejects a run whose two clocks disagree, so
nothing is gained by patching this one.
"""

from collections.abc import Callable
from time import monotonic

from shared.contracts import Budget


class BudgetClock:
    """Spent training seconds and tokens, carried over from a checkpoint."""

    def __init__(self, budget: Budget, spent_seconds: float, tokens: int, now: Callable[[], float] = monotonic):
        self.budget = budget
        self.tokens = tokens
        self._now = now
        self._origin = now() - spent_seconds

    @property
    def seconds(self) -> float:
        return self._now() - self._origin

    @property
    def progress(self) -> float:
        if self.budget.tokens is not None:
            return min(self.tokens / self.budget.tokens, 1.0)
        assert self.budget.seconds is not None
        return min(self.seconds / self.budget.seconds, 1.0)

    def is_over(self, step_seconds: float, in_flight_seconds: float) -> bool:
        """True when one more step would end further from the budget than stopping now.

        step_seconds: how long a step takes; in_flight_seconds: work already given to the device and not done.
        """
        if self.budget.tokens is not None:
            return self.tokens >= self.budget.tokens
        assert self.budget.seconds is not None
        return self.seconds + in_flight_seconds + step_seconds / 2 >= self.budget.seconds
