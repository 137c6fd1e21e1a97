"""How often the rule of `autoresearch decide` is wrong, and what it gains in a night, by simulation.

    python -m benchmarks.decide [--nights 400] [--seed 1] [--real 0.12] [--neutral 0.28] [--gain 0.002] [--harm 0.004]

A night is 96 runs (8 hours of 300 s). An idea is a real gain (exponential), neutral, or harmful (exponential); a run
is the truth plus normal noise. Three gates decide, on the same ideas: keep-if-lower as upstream does it, three runs
against three with a t-test at 5 %, and shared/research/rule.py itself, with a sigma that 8, 5 or 3 seeds measured
before the night, or 8 or 3 runs of the start in it.
"""

import argparse
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean, stdev

from scipy.stats import t as student

from shared.research.noise import Noise
from shared.research.rule import Verdict, decide

RUNS = 96
SIGMAS = (0.0007, 0.002, 0.01, 0.03)
T_BOUND = float(student.ppf(0.95, 4))


@dataclass(frozen=True)
class World:
    """Which ideas come, in val_bpb."""

    real: float = 0.12
    neutral: float = 0.28
    gain: float = 0.002
    harm: float = 0.004

    def effect(self, rng: random.Random) -> float:
        kind = rng.random()
        if kind < self.real:
            return rng.expovariate(1 / self.gain)
        return 0.0 if kind < self.real + self.neutral else -rng.expovariate(1 / self.harm)


@dataclass
class Night:
    """`best`: how far the truth of the kept recipe has come down; `claimed`: published minus true, of each keep."""

    rng: random.Random
    sigma: float
    left: int = RUNS
    best: float = 0.0
    effects: list[float] = field(default_factory=list)
    kept: list[float] = field(default_factory=list)
    claimed: list[float] = field(default_factory=list)

    def run(self, effect: float = 0.0) -> float:
        """val_bpb of a run of the best recipe, or of it with an idea; beyond the night there is none."""
        self.left -= 1
        return self.rng.gauss(-self.best - effect, self.sigma)

    def keep(self, effect: float, published: float) -> None:
        self.best += effect
        self.kept.append(effect)
        self.claimed.append(published + self.best)


def keep_if_lower(night: Night, world: World) -> None:
    record = night.run()
    while night.left > 0:
        night.effects.append(effect := world.effect(night.rng))
        if (seen := night.run(effect)) < record:
            record = seen
            night.keep(effect, seen)


def three_against_three(night: Night, world: World) -> None:
    pool = [night.run() for _ in range(3)]
    while night.left >= 3:
        night.effects.append(effect := world.effect(night.rng))
        runs = [night.run(effect) for _ in range(3)]
        error = math.sqrt((stdev(runs) ** 2 + stdev(pool) ** 2) / 3)
        if (fmean(pool) - fmean(runs)) / error > T_BOUND:
            night.keep(effect, fmean(runs))
            pool = runs


def our_rule(num_seeds: int) -> Callable[[Night, World], None]:
    def gate(night: Night, world: World) -> None:
        noise = Noise(stdev([night.rng.gauss(0, night.sigma) for _ in range(num_seeds)]), num_seeds, "simulated")
        pool = [night.run()]
        while night.left > 0:
            night.effects.append(effect := world.effect(night.rng))
            runs: list[float] = []
            while (found := decide(runs, pool, noise)).verdict is Verdict.UNDECIDED and night.left > 0:
                runs += [night.run(effect) for _ in range(found.idea_needs)]
                pool += [night.run() for _ in range(found.parent_needs)]
            if found.verdict is Verdict.KEEP:
                assert found.published is not None
                night.keep(effect, found.published)
                pool = runs

    return gate


def from_own_runs(first: int) -> Callable[[Night, World], None]:
    """Nobody has calibrated: so many runs of the start, inside the night, are the pool and the noise, and grow."""

    def gate(night: Night, world: World) -> None:
        start = pool = [night.run() for _ in range(first)]
        while night.left > 0:
            night.effects.append(effect := world.effect(night.rng))
            runs: list[float] = []
            while night.left > 0:
                noise = Noise(stdev(start), len(start), "simulated", grows=pool is start)
                if (found := decide(runs, pool, noise)).verdict is not Verdict.UNDECIDED:
                    break
                runs += [night.run(effect) for _ in range(found.idea_needs)]
                pool += [night.run() for _ in range(found.parent_needs)]  # in place: of the start too, while it is that
            if found.verdict is Verdict.KEEP:
                assert found.published is not None
                night.keep(effect, found.published)
                pool = runs

    return gate


GATES = {
    "keep if lower": keep_if_lower,
    "3 v 3, t 5 %": three_against_three,
    "decide, 8 seeds": our_rule(8),
    "decide, 5 seeds": our_rule(5),
    "decide, 3 seeds": our_rule(3),
    "decide, 8 runs of the start": from_own_runs(8),
    "decide, 3 runs of the start": from_own_runs(3),
}


@dataclass(frozen=True)
class Rates:
    gain: float
    """of the truth, a night"""
    keeps: float
    """a night"""
    false_per_null: float
    """share of the neutral and harmful ideas... that are neutral and kept"""
    false_share: float
    """of the keeps, those that help nothing or hurt"""
    claimed: float
    """published minus true, mean over keeps"""
    ideas: float
    """tested a night"""


def rates(gate: Callable[[Night, World], None], world: World, sigma: float, nights: int, seed: int) -> Rates:
    done = []
    for number in range(nights):
        night = Night(random.Random(f"{seed} {number}"), sigma)
        gate(night, world)
        done.append(night)
    kept = [effect for night in done for effect in night.kept]
    nulls = sum(effect == 0 for night in done for effect in night.effects)
    return Rates(
        gain=fmean(night.best for night in done),
        keeps=len(kept) / nights,
        false_per_null=sum(effect == 0 for effect in kept) / max(1, nulls),
        false_share=sum(effect <= 0 for effect in kept) / max(1, len(kept)),
        claimed=fmean([value for night in done for value in night.claimed] or [0.0]),
        ideas=sum(len(night.effects) for night in done) / nights,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    for name, value in vars(World()).items():
        parser.add_argument(f"--{name}", type=float, default=value)
    asked = parser.parse_args()
    world = World(asked.real, asked.neutral, asked.gain, asked.harm)
    print("| sigma | gate | gain a night | keeps | false per neutral idea | not better, of keeps | published - true |")
    print("|---|---|---|---|---|---|---|")
    for sigma in SIGMAS:
        for name, gate in GATES.items():
            found = rates(gate, world, sigma, asked.nights, asked.seed)
            print(
                f"| {sigma:g} | {name} | {found.gain:+.4f} | {found.keeps:.1f} | {found.false_per_null:.1%} | "
                f"{found.false_share:.0%} | {found.claimed:+.5f} |"
            )


if __name__ == "__main__":
    main()
