"""Why a number is not ranked and by how much it missed that: one line, the same wherever somebody is told."""

from shared.contracts import RunResult, Unranked
from shared.machine.crowd import LARGEST_SHARE

BY_THE_MACHINE = frozenset({Unranked.OVER_BUDGET, Unranked.BUSY_MACHINE})
"""what may be otherwise when the machine is idle"""


def reasons_of(result: RunResult) -> str:
    """By the names that `unranked` gives them; empty for a ranked run."""
    return "; ".join(": ".join(filter(None, (reason, by_how_much(reason, result)))) for reason in result.unranked)


def by_how_much(reason: Unranked, result: RunResult) -> str:
    """Empty where the reason is none of degree, or an older record does not say it."""
    if reason is Unranked.OVER_BUDGET:
        return _seconds_over(result)
    if reason is Unranked.BUSY_MACHINE:
        loads = [choice.chosen for choice in result.choices if choice.what == "machine load"]
        return f"{loads[-1]} of its processors, where {LARGEST_SHARE:.0%} in all are allowed" if loads else ""
    return ""


def _seconds_over(result: RunResult) -> str:
    budget, computed = result.budget, result.computed_seconds
    if budget.seconds is None or budget.covers(computed):
        return ""
    beside = f", {result.outside_seconds:.3g} s of them beside its training" if result.outside_seconds else ""
    over, allowed = computed - budget.seconds, budget.allowed_seconds - budget.seconds
    return f"{computed:.4g} s{beside}, so {over:.3g} s over the budget, where {allowed:.3g} s are allowed"
