"""What a probe will cost in wall-clock, from what probes have cost."""

from collections.abc import Iterable
from statistics import median

from services.calibrator.measurement import Outcome
from shared.contracts import Rung
from shared.evaluation.rungs import RUNG_TOKENS

STARTUP_S = 20.0
"""before anything was measured"""
EVAL_SPEEDUP = 2.5
"""tokens scored for each trained in the same time, before anything was measured"""
LIMIT_FACTOR, LIMIT_SLACK_S = 2.0, 60.0


class ProbeCosts:
    def __init__(self, outcomes: Iterable[Outcome], rung: Rung):
        numbers = [outcome for outcome in outcomes if outcome.is_ok]
        self._eval_tokens = RUNG_TOKENS[rung]
        around = [one.wall_seconds - one.probe.seconds - one.eval_seconds for one in numbers]
        self._around_s = max(0.0, median(around or [STARTUP_S]))
        self._speedup = median([speedup for one in numbers if (speedup := _speedup(one))] or [EVAL_SPEEDUP])

    def expected(self, seconds: float, tok_per_sec: float) -> float:
        """Start-up, training, evaluation and what is around them."""
        return self._around_s + seconds + self._eval_tokens / (self._speedup * tok_per_sec)

    def limit(self, seconds: float, tok_per_sec: float) -> float:
        """When to end it."""
        return LIMIT_FACTOR * self.expected(seconds, tok_per_sec) + LIMIT_SLACK_S


def _speedup(outcome: Outcome) -> float | None:
    if not outcome.eval_seconds or not outcome.tok_per_sec:
        return None
    return RUNG_TOKENS[outcome.probe.rung] / (outcome.eval_seconds * outcome.tok_per_sec)
