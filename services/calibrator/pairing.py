"""Phase pairing: whether two shapes that run with the same seed have luck in common.

Where they have, comparing ideas seed by seed needs fewer runs: the variance of a paired difference is 1 - rho of an
unpaired one's. A second shape runs with the seeds of the noise phase, at the same budget.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import pearsonr

from services.calibrator.confirm import Confirmation, distinct, overhead_s
from services.calibrator.envelope_model import alike
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.noise import INTERVAL, Noise
from services.calibrator.prior import Prior
from services.calibrator.ranking import Ranked
from services.calibrator.search import SearchResult
from services.calibrator.work import Work
from shared.contracts import Contract
from shared.experiment.platform_default import FEWEST_PAIRS, Pairing, Tuning


class Paired(Contract):
    pairing: Pairing | None
    reason: str
    """why there is none, or what it rests on"""
    outcomes: tuple[Outcome, ...] = ()
    """of the second shape"""


def measure_pairing(
    work: Work, confirmation: Confirmation, found: SearchResult, prior: Prior, tuning: Tuning, noise: Noise,
    known: Sequence[Outcome], allowance_s: float,
) -> Paired:  # fmt: skip
    if work.calibration.mode != "full":
        return Paired(pairing=None, reason="measured in mode full alone")
    second = _second(confirmation, found)
    if noise.floor is None or second is None:
        why = noise.reason if noise.floor is None else "there is no second shape"
        return Paired(pairing=None, reason=f"nothing to pair: {why}")
    seconds, beside_s = noise.floor.budget_seconds, overhead_s(known, {second.preset})
    first = [one for one in noise.outcomes if one.is_undisturbed][: int(allowance_s / (seconds + beside_s))]
    if len(first) < FEWEST_PAIRS:
        needed_s = FEWEST_PAIRS * (seconds + beside_s)
        return Paired(pairing=None, reason=f"{FEWEST_PAIRS} pairs take about {needed_s:.0f} s, not {allowance_s:.0f}")
    outcomes: list[Outcome] = []
    for one in first:
        if outcomes and work.clock.remaining_s < seconds + beside_s:
            break
        probe = Probe(
            preset=second.preset, shape=second.shape, seconds=seconds, seed=one.probe.seed, rung=prior.rung,
            tuning=tuning,
        )  # fmt: skip
        outcomes.append(work.measure(probe, limit_s=3.0 * (seconds + beside_s)))
    return concluded(first, outcomes)


def _second(confirmation: Confirmation, found: SearchResult) -> Ranked | None:
    """Confirmed beside the chosen one, else the next of the search."""
    chosen = confirmation.chosen
    if chosen is None:
        return None
    confirmed = {outcome.probe.shape for outcome in confirmation.outcomes if outcome.is_ok}
    others = [one for one in distinct(found.ranked) if not alike(one.shape, chosen.shape)]
    return next((one for one in others if one.shape in confirmed), next(iter(others), None))


def concluded(first: Sequence[Outcome], second: Sequence[Outcome]) -> Paired:
    """Of outcomes in the order of their seeds."""
    both = [
        (one, other)
        for one, other in zip(first, second, strict=False)
        if one.probe.seed == other.probe.seed and one.is_undisturbed and other.is_undisturbed
    ]
    ours, theirs = (np.array([pair[place].val_bpb for pair in both], dtype=float) for place in (0, 1))
    if len(both) < FEWEST_PAIRS:
        return Paired(pairing=None, reason=f"{len(both)} pairs came to a number", outcomes=tuple(second))
    if not np.ptp(ours) or not np.ptp(theirs):
        return Paired(pairing=None, reason="the scores of a shape do not differ at all", outcomes=tuple(second))
    found = pearsonr(ours, theirs)
    low, high = found.confidence_interval(INTERVAL)
    pairing = Pairing(
        rho=float(found.statistic), low=float(low), high=float(high), num_pairs=len(both), other=second[0].probe.shape,
        run_ids=tuple(other.run_id or "" for _, other in both),
    )  # fmt: skip
    return Paired(pairing=pairing, reason=f"{len(both)} pairs: {pairing.verdict}", outcomes=tuple(second))
