"""Keeps that no longer stand by what is known of the noise today: said, and changed by nobody but `decide --again`.

A keep is decided by the sigma of its day. Where a later calibration or later runs measure a larger one, the same runs
may no longer be enough.
"""

from dataclasses import dataclass
from typing import Any

from shared.experiment.platform_default import PlatformDefault
from shared.research.book import Ruling
from shared.research.comparable import Key
from shared.research.idea import Idea
from shared.research.judge import noise_at
from shared.research.known import Known, held, rule_for
from shared.research.noise import Noise
from shared.research.rule import Verdict


@dataclass(frozen=True)
class Doubt:
    idea: Idea
    sigma_then: float
    noise: Noise
    """as it is known today"""
    reason: str
    """what the rule says of the runs of the keep by that noise"""
    is_best: bool
    """nothing was kept on top of it"""

    @property
    def command(self) -> str:
        """What tries it again. Below the best, only its own share of the best can be tried: by taking it out."""
        return f"autoresearch decide {self.idea.id} --again --wait" if self.is_best else "autoresearch prune --wait"

    @property
    def said(self) -> str:
        """One line."""
        return (
            f"{self.idea.id} was kept with sigma {self.sigma_then:.6f}, and by sigma {self.noise.sigma:.6f} of today "
            f"({self.noise.source}) it would not be: {self.reason}; `{self.command}` tries it again"
        )

    def as_json(self) -> dict[str, Any]:
        sigmas = {"sigma_then": self.sigma_then, "sigma": self.noise.sigma, "source": self.noise.source}
        return {"id": self.idea.id, "note": self.idea.note, **sigmas, "reason": self.reason, "command": self.command}


def doubts(known: Known, key: Key, default: PlatformDefault | None) -> list[Doubt]:
    """Of the keeps that led to the best, in order. `default`: of the key's machine."""
    line = known.line(key)
    found = (doubt(known, known.rulings.get((idea.id, key)), default) for idea in line)
    return [one for one in found if one is not None]


def doubt(known: Known, ruling: Ruling | None, default: PlatformDefault | None) -> Doubt | None:
    """None where it is no keep, or stands, or where no noise is known today or its runs are gone."""
    values = held(known, ruling) if ruling is not None and ruling.verdict is Verdict.KEEP else None
    if ruling is None or values is None or ruling.sigma is None:
        return None
    idea, line = known.ideas[ruling.idea], known.line(ruling.key)
    against = known.ideas[ruling.against or str(idea.parent)]
    noise = noise_at(known, ruling.key, default, known.pool(against, ruling.key, idea))
    if noise is None:
        return None
    decision = rule_for(idea)(*values, noise)
    if decision.verdict is Verdict.KEEP:
        return None
    return Doubt(idea, ruling.sigma, noise, decision.reason, is_best=bool(line) and line[-1] == idea)
