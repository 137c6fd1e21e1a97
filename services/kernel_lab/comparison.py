"""What pairs of runs of one preset say of a kernel: validated, regressed or mixed.

Validated takes two things. Tokens/s rise by more than chance, and harm to val_bpb above a margin is excluded: a kernel
of which nobody knows how well the trainer learns with it is not validated.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.kernel_lab.statistics import Interval, Paired
from shared.kernel_lab.job import FEWEST_PAIRS

SIGNIFICANT = 0.01
"""of the first comparison for an op on a machine; see integration.significance for the further ones"""
HARM_BPB = 0.01
"""val_bpb that may be lost: what is smaller is not told from chance by five pairs, and a kernel that computes something
else in training loses more"""


@dataclass(frozen=True)
class Comparison:
    """All pairs of one preset."""

    preset: str
    speed: Paired
    """of log(tokens/s with the kernel / without)"""
    val_bpb: Paired | None
    """of val_bpb with the kernel minus without; None where a pair has no number"""
    runs: tuple[tuple[str, str], ...]
    """ids: with, without"""
    significant: float = SIGNIFICANT

    @property
    def verdict(self) -> str:
        """validated, regressed or mixed."""
        worse = self.val_bpb is not None and self.val_bpb.p < SIGNIFICANT and self.val_bpb.mean.value > 0
        if worse or (self.speed.p < SIGNIFICANT and self.speed.mean.value < 0):
            return "regressed"
        return "mixed" if self.lacking else "validated"

    @property
    def lacking(self) -> tuple[str, ...]:
        """What it would take to be validated."""
        found = []
        if self.speed.pairs < FEWEST_PAIRS:
            found.append(f"{self.speed.pairs} pairs are too few, {FEWEST_PAIRS} are needed")
        if self.speed.p >= self.significant or self.speed.mean.value <= 0:
            found.append("it is not faster by more than chance")
        if self.harm_bpb >= HARM_BPB:
            found.append(f"it is not excluded that val_bpb is worse by {HARM_BPB} or more: more pairs may show it")
        return tuple(found)

    @property
    def harm_bpb(self) -> float:
        """The most that val_bpb may be worse, at the level that is asked of the speed."""
        return self.val_bpb.upper(self.significant) if self.val_bpb is not None else math.inf

    @property
    def speedup(self) -> Interval:
        mean = self.speed.mean
        return Interval(math.exp(mean.value), math.exp(mean.low), math.exp(mean.high))

    @property
    def line(self) -> str:
        size = f"effect size {self.speed.effect_size:.2f} over {self.speed.pairs} pairs"
        score = "no val_bpb"
        if self.val_bpb is not None:
            score = f"val_bpb {self.val_bpb.mean.value:+.4f}, at most {self.harm_bpb:+.4f} (p = {self.val_bpb.p:.2g})"
        p = f"p = {self.speed.p:.2g} (below {self.significant:.2g} asked)"
        why = f" ({'; '.join(self.lacking)})" if self.verdict == "mixed" else ""
        return f"- {self.preset}: tokens/s x {self.speedup}, {p}, {size}; {score}: {self.verdict}{why}"

    def as_data(self) -> dict[str, Any]:
        return {
            "preset": self.preset,
            "verdict": self.verdict,
            "lacking": self.lacking,
            "speedup": self.speedup.as_data(),
            "p": self.speed.p,
            "significant": self.significant,
            "effect_size": self.speed.effect_size,
            "pairs": self.speed.pairs,
            "val_bpb_difference": self.val_bpb.mean.as_data() if self.val_bpb else None,
            "val_bpb_p": self.val_bpb.p if self.val_bpb else None,
            "val_bpb_harm": self.harm_bpb if self.val_bpb else None,
            "runs": self.runs,
        }


def together(verdicts: Iterable[str]) -> str:
    """One preset that gets slower is enough to say no, and all must be faster to say yes."""
    found = set(verdicts)
    if "regressed" in found:
        return "regressed"
    return "validated" if found == {"validated"} else "mixed"
