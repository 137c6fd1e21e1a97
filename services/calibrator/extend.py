"""Phase extend: what minutes the others left go to a longer run of the chosen shape, then to more seeds of it."""

from collections.abc import Sequence

from services.calibrator.confirm import (
    FIRST_SEED,
    LONG_ENOUGH,
    SHORTEST_S,
    Confirmation,
    ConfirmedRun,
    compared,
    longest_budget,
    overhead_s,
)
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.noise import Noise, concluded
from services.calibrator.prior import Prior
from services.calibrator.work import Work
from shared.contracts import Contract
from shared.experiment.platform_default import Tuning
from shared.quality import QualityTable

LONGER = 1.5
"""times the confirming run's budget: less says little more"""
MOST_SEEDS = {"fast": 8, "full": 16}
"""shared/fleet/platform_defaults.py believes no noise floor of more"""


class Extended(Contract):
    longer: ConfirmedRun | None = None
    """of the chosen shape"""
    noise: Noise | None = None
    """with more seeds; None: there are no more"""
    reason: str

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        own = (self.longer.outcome,) if self.longer else ()
        return (*own, *(self.noise.outcomes if self.noise else ()))


def extend(
    work: Work, confirmation: Confirmation, prior: Prior, tuning: Tuning, noise: Noise, known: Sequence[Outcome],
    table: QualityTable, allowance_s: float,
) -> Extended:  # fmt: skip
    """`table`: with this machine's own rows."""
    chosen = confirmation.chosen
    if chosen is None:
        return Extended(reason="no shape was chosen")
    beside_s, end_s = overhead_s(known, {chosen.preset}), work.clock.spent_s + allowance_s

    def probe(seconds: float, seed: int) -> Probe:
        return Probe(
            preset=chosen.preset, shape=chosen.shape, seconds=seconds, seed=seed, rung=prior.rung, tuning=tuning
        )

    longer = None
    if seconds := _longer_s(work, confirmation, noise, longest_budget(work, beside_s, 1, allowance_s)):
        longer = compared(table, work.measure(probe(seconds, FIRST_SEED), limit_s=2.0 * (seconds + beside_s)))
    more: list[Outcome] = []
    for seed in _more_seeds(work, noise):
        assert noise.floor
        if noise.floor.budget_seconds + beside_s > end_s - work.clock.spent_s:
            break
        more.append(work.measure(probe(noise.floor.budget_seconds, seed), limit_s=end_s - work.clock.spent_s))
    every = concluded([*noise.outcomes, *more], len(noise.outcomes) + len(more)) if more else None
    return Extended(longer=longer, noise=every, reason=_said(longer, len(more), allowance_s))


def _longer_s(work: Work, confirmation: Confirmation, noise: Noise, longest_s: float) -> float:
    """Budget of a longer run; 0 where seeds say more, or it would not be much longer."""
    worth_it = max(SHORTEST_S, LONGER * confirmation.seconds)
    enough = confirmation.seconds >= LONG_ENOUGH * work.calibration.target_seconds
    return longest_s if longest_s >= worth_it and not (enough and _more_seeds(work, noise)) else 0.0


def _more_seeds(work: Work, noise: Noise) -> range:
    """That were not tried."""
    if noise.floor is None:
        return range(0)
    return range(FIRST_SEED + len(noise.outcomes), FIRST_SEED + MOST_SEEDS[work.calibration.mode])


def _said(longer: ConfirmedRun | None, num_seeds: int, allowance_s: float) -> str:
    ran = [f"a run of {longer.outcome.probe.seconds:g} s"] if longer else []
    ran += [f"{num_seeds} more seeds"] if num_seeds else []
    return f"{allowance_s:.0f} s were left: {' and '.join(ran) or 'too few for another run'}"
