"""How many optimizer steps the runs of an idea made beside those of its parent: for a reader, deciding nothing.

Under a time budget, val_bpb follows the number of steps, and that follows what a step costs and how fast the machine
was on the day. The recipe's process reports the number (docs/security.md), so no verdict may depend on it.
"""

from collections.abc import Sequence
from statistics import median

from shared.contracts import RunResult, Shape

NOTABLE = 0.05
"""share of the parent's steps"""


def num_steps(runs: Sequence[RunResult]) -> float | None:
    """Of a run, the median of those that told it."""
    told = [run.num_steps for run in runs if run.num_steps]
    return median(told) if told else None


def told(runs: Sequence[RunResult], pool: Sequence[RunResult]) -> str:
    """One line where runs of the same shape made notably fewer or more steps than the pool's; else nothing."""
    mine, before = num_steps(runs), num_steps(pool)
    if mine is None or before is None or _shapes(runs) != _shapes(pool):
        return ""
    share = mine / before - 1
    if abs(share) < NOTABLE:
        return ""
    word, cost, speed = ("fewer", "more", "slower") if share < 0 else ("more", "less", "faster")
    return (
        f"its runs report {abs(share):.0%} {word} steps ({mine:g} against {before:g}): a step of it costs {cost}, "
        f"or the machine was {speed} on the day"
    )


def _shapes(runs: Sequence[RunResult]) -> set[Shape | None]:
    return {run.shape for run in runs}
