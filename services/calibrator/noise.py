"""Phase noise: how far runs of the chosen shape differ that differ in nothing but their seed."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2

from services.calibrator.confirm import FIRST_SEED, Confirmation, longest_budget, overhead_s
from services.calibrator.measurement import Outcome, Probe, disturbance
from services.calibrator.prior import Prior
from services.calibrator.work import Work
from shared.contracts import Contract
from shared.experiment.platform_default import NoiseFloor, Tuning

SEEDS = {"fast": 3, "full": 8}
ENOUGH_SEEDS = 8
FEWEST_SEEDS = 2
SHORTEST_S = 5.0
INTERVAL = 0.95
QUIET = "let this machine do nothing else, then `autoresearch calibrate --force` measures the noise"


class Noise(Contract):
    floor: NoiseFloor | None
    reason: str
    """why there is none, or what it rests on"""
    outcomes: tuple[Outcome, ...]


def measure_noise(
    work: Work, confirmation: Confirmation, prior: Prior, tuning: Tuning, known: Sequence[Outcome], allowance_s: float
) -> Noise:
    """The confirming run counts as one of the seeds when the budget can be the same."""
    chosen = confirmation.chosen
    if chosen is None:
        return Noise(floor=None, reason="no shape was chosen", outcomes=())
    count, beside_s = SEEDS[work.calibration.mode], overhead_s(known, {chosen.preset})
    seconds = longest_budget(work, beside_s, count, allowance_s)
    if confirmation.seconds and longest_budget(work, beside_s, count - 1, allowance_s) >= confirmation.seconds:
        seconds = confirmation.seconds
    if seconds < SHORTEST_S:
        return Noise(floor=None, reason=f"{count} runs do not fit into {allowance_s:.0f} s", outcomes=())
    outcomes: list[Outcome] = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        if outcomes and work.clock.remaining_s < seconds + beside_s:
            break  # the minutes' end would cut it short
        probe = Probe(
            preset=chosen.preset, shape=chosen.shape, seconds=seconds, seed=seed, rung=prior.rung, tuning=tuning
        )
        outcomes.append(work.measure(probe, limit_s=3.0 * allowance_s / count))
    return concluded(outcomes, count)


def concluded(outcomes: Sequence[Outcome], asked: int) -> Noise:
    """What others' load did to a run would be taken for the luck of its seed."""
    numbers = [outcome for outcome in outcomes if outcome.is_ok and outcome.val_bpb is not None]
    good, disturbed = [outcome for outcome in numbers if outcome.is_undisturbed], disturbance(numbers)
    if len(good) < FEWEST_SEEDS:
        left_out = f", and {disturbed}: {QUIET}" if disturbed else ""
        unpaid = f", no time for {asked - len(outcomes)}" if len(outcomes) < asked else ""
        reason = f"{len(numbers)} of {asked} runs came to a number{unpaid}{left_out}"
        return Noise(floor=None, reason=reason, outcomes=tuple(outcomes))
    floor = noise_floor(good)
    short = f", {len(outcomes) - len(numbers)} more came to no number" if len(numbers) < len(outcomes) else ""
    short += f", no time for {asked - len(outcomes)} more" if len(outcomes) < asked else ""
    short += f", {disturbed} and are left out" if disturbed else ""
    weak = f"; weak, fewer than {ENOUGH_SEEDS}" if floor.weak else ""
    reason = f"{len(good)} seeds of {floor.budget_seconds:g} s{short}{weak}"
    return Noise(floor=floor, reason=reason, outcomes=tuple(outcomes))


def noise_floor(outcomes: Sequence[Outcome]) -> NoiseFloor:
    """Of runs that ended well, all of one shape, budget and rung."""
    values = np.array([outcome.val_bpb for outcome in outcomes], dtype=float)
    freedom = len(values) - 1
    sigma = float(values.std(ddof=1))
    tail = (1 - INTERVAL) / 2
    return NoiseFloor(
        sigma=sigma,
        low=sigma * float(np.sqrt(freedom / chi2.ppf(1 - tail, freedom))),
        high=sigma * float(np.sqrt(freedom / chi2.ppf(tail, freedom))),
        num_seeds=len(values),
        budget_seconds=outcomes[0].probe.seconds,
        rung=outcomes[0].probe.rung,
        weak=len(values) < ENOUGH_SEEDS,
        run_ids=tuple(outcome.run_id or "" for outcome in outcomes),
    )
