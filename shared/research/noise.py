"""How much val_bpb changes with the seed, as somebody measured it where the runs were made. There is no default.

It comes from the platform default's noise floor, and from the runs of the shipped recipe that others are compared
with. Runs of changed recipes say little of it: one that fixes its own seed would make everything look certain. Only
where a kept idea changed the size of the model, its own runs are all there is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import variance

from shared.contracts import Rung, Shape
from shared.experiment.platform_default import PlatformDefault
from shared.research.comparable import Key

RUNGS = list(Rung)
FEWEST_FREEDOM = 2
MUCH_SHORTER = 0.5
UNLIKELY = 1e-3
MOST_SEEDS_CLAIMED = 8
"""behind a sigma that somebody else wrote down, however many he says"""


@dataclass(frozen=True)
class Noise:
    sigma: float
    """standard deviation of val_bpb over seeds"""
    num_seeds: int
    """degrees of freedom + 1"""
    source: str
    grows: bool = False
    """the pool's runs are part of it"""
    is_of_shorter: bool = False
    """runs of less than MUCH_SHORTER the time are part of it: they differ more, so small gains are not seen"""


def measured(
    default: PlatformDefault | None, key: Key, shape: Shape | None, starts: Iterable[Sequence[float]]
) -> Noise | None:
    """Everything that is known for this key, pooled; a floor of much shorter runs only where the others are too few.
    `starts`: val_bpb of the shipped recipe's runs, by start."""
    groups = [list(values) for values in starts if len(values) > 1]
    parts = [(len(values) - 1, variance(values), f"{len(values)} runs of the start") for values in groups]
    floor = default.noise if default is not None and why_not(default, key, shape) is None else None
    is_of_shorter = floor is not None and floor.budget_seconds < MUCH_SHORTER * key.budget_seconds
    if is_of_shorter and sum(part[0] for part in parts) >= FEWEST_FREEDOM:
        floor, is_of_shorter = None, False
    if default is not None and floor is not None:
        said = f"{floor.num_seeds} seeds of {floor.budget_seconds:g} s in calibration {default.calibration}"
        parts.append((floor.num_seeds - 1, floor.sigma**2, said))
    freedom = sum(part[0] for part in parts)
    if freedom < FEWEST_FREEDOM:
        return None
    sigma = (sum(part[0] * part[1] for part in parts) / freedom) ** 0.5
    return Noise(sigma, freedom + 1, " and ".join(part[2] for part in reversed(parts)), is_of_shorter=is_of_shorter)


def is_denied(sigma: float, num_seeds: int, values: Sequence[float]) -> bool:
    """Whether runs with different seeds hardly ever differ so much where seeds make `sigma` (F test, upper tail)."""
    if sigma <= 0 or num_seeds < 2 or len(values) < 2:
        return False
    from scipy.special import fdtrc

    seeds = min(num_seeds, MOST_SEEDS_CLAIMED)
    return bool(fdtrc(len(values) - 1, seeds - 1, variance(values) / sigma**2) < UNLIKELY)


def is_too_large(sigma: float, num_seeds: int, groups: Iterable[Sequence[float]]) -> bool:
    """Whether runs of the shipped recipe hardly ever differ so little where seeds make `sigma` (F test, lower tail).

    By a sigma that is too large, an idea that was kept for good reason would look as if nobody missed it.
    """
    several = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if sigma <= 0 or num_seeds < 2 or freedom < 2:
        return False
    from scipy.special import fdtr

    spread = sum((len(values) - 1) * variance(values) for values in several) / freedom
    seeds = min(num_seeds, MOST_SEEDS_CLAIMED)
    return bool(fdtr(freedom, seeds - 1, spread / sigma**2) < UNLIKELY)


def why_not(default: PlatformDefault | None, key: Key, shape: Shape | None) -> str | None:
    """What keeps a default's noise floor from being used, in words. Noisier conditions are on the safe side."""
    if default is None:
        return "this machine was not calibrated"
    if default.noise is None:
        return "its calibration measured no noise"
    if (default.dataset.fingerprint, default.eval_signature) != (key.dataset, key.eval_signature):
        return "it was calibrated on another dataset or evaluation"
    if default.noise.budget_seconds > 1.01 * key.budget_seconds:
        return f"its noise is that of runs of {default.noise.budget_seconds:g} s, and shorter ones are noisier"
    if RUNGS.index(default.noise.rung) > RUNGS.index(key.rung):
        return f"its noise is that of rung {default.noise.rung}, and cheaper ones are noisier"
    if shape is None or _size(shape) != _size(default.shape):
        return f"it was calibrated for another shape ({default.family})"
    return None


def _size(shape: Shape) -> tuple[int, ...]:
    return (shape.depth, shape.d_model, shape.heads, shape.seq_len)


def how_to_measure(why: str, start: str | None, queue: str | None) -> str:
    """`start`: of the shipped recipe. `queue`: the target that the runs were sent to; None: to this machine alone."""
    command = f"submit --target {queue} --calibrate full --wait" if queue else "calibrate --mode full"
    return f"{why}: `autoresearch {command}` measures it{f', or `autoresearch decide {start} --wait`' if start else ''}"
