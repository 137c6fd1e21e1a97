"""Which ideas hold on other hardware. Numbers of different machines are never compared, only what an idea gains on its
own parent there, and the order of ideas by that gain.

An idea can gain by learning more from a token or by being faster. `tokens` tells them apart: the tokens it was trained
on in its budget, divided by its parent's. Near 1, the comparison was one of equal tokens.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from shared.research.comparable import Key
from shared.research.history import Row, middle, rows
from shared.research.idea import Idea
from shared.research.known import Known
from shared.research.noise import Noise

FEWEST_IDEAS = 3
"""for a rank correlation"""


@dataclass(frozen=True)
class Gain:
    key: Key
    effect: float
    """val_bpb that it gains on its parent there"""
    z: float | None
    """effect over its standard error; None without a known noise"""
    tokens: float | None
    num_runs: int


@dataclass(frozen=True)
class Transferred:
    idea: Idea
    gains: tuple[Gain, ...]

    @property
    def said(self) -> str:
        """holds: seen (z > 1) on each; splits: seen on one, and seen to hurt on another; unclear: neither."""
        seen = [gain.z for gain in self.gains]
        if any(z is None for z in seen):
            return "unclear"
        if all(z > 1 for z in seen if z is not None):
            return "holds"
        return "splits" if max(z or 0 for z in seen) > 1 and min(z or 0 for z in seen) < -1 else "unclear"

    def as_json(self) -> dict[str, Any]:
        gains = [{**vars(gain), "key": gain.key.model_dump(mode="json")} for gain in self.gains]
        return {"id": self.idea.id, "note": self.idea.note, "said": self.said, "gains": gains}


def transferred(known: Known, noise_at: Callable[[Key], Noise | None]) -> list[Transferred]:
    """Ideas that were run beside their parent on at least two hardware keys."""
    found = []
    for idea in known.ideas.values():
        gains: dict[str, Gain] = {}
        for row in rows_of(known, idea):
            assert row.key is not None
            gains.setdefault(row.key.hardware_key, _gain(known, row, noise_at(row.key)))
        if len(gains) > 1:
            found.append(Transferred(idea, tuple(gains.values())))
    return found


def rows_of(known: Known, idea: Idea) -> list[Row]:
    every = [row for key in known.keys(idea) for row in rows(known, key) if row.idea.id == idea.id]
    return [row for row in every if row.effect is not None]


def _gain(known: Known, row: Row, noise: Noise | None) -> Gain:
    assert row.key is not None
    assert row.effect is not None
    assert row.idea.parent is not None
    pool = known.pool(known.ideas[row.idea.parent], row.key, row.idea).results
    before = middle(pool, "total_tokens_M")
    error = noise.sigma * (1 / row.num_runs + 1 / len(pool)) ** 0.5 if noise else None
    tokens = row.tokens_M / before if row.tokens_M and before else None
    return Gain(row.key, row.effect, row.effect / error if error else None, tokens, row.num_runs)


@dataclass(frozen=True)
class Ranks:
    """How far two machines agree on the order of the ideas that both have tried."""

    first: str
    second: str
    num_ideas: int
    tau: float
    """Kendall's: 1 the same order, 0 no relation"""
    p: float


def ranks(found: list[Transferred]) -> list[Ranks]:
    from scipy.stats import kendalltau

    machines = sorted({gain.key.hardware_key for one in found for gain in one.gains})
    agreed = []
    for first, second in combinations(machines, 2):
        pairs = [(by[first], by[second]) for one in found if {first, second} <= set(by := _by_machine(one))]
        if len(pairs) >= FEWEST_IDEAS:
            tau, p = kendalltau(*zip(*pairs, strict=True))
            agreed.append(Ranks(first, second, len(pairs), float(tau), float(p)))
    return agreed


def _by_machine(one: Transferred) -> dict[str, float]:
    return {gain.key.hardware_key: gain.effect for gain in one.gains}
