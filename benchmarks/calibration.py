"""The calibrator's search against random search, plain TPE and an exhaustive grid, on simulated machines.

Not a test: it prints medians over seeds with bootstrap intervals. Regret is how far the chosen shape's true val_bpb
at 300 s, known to the simulation alone, is above that of the best shape on offer. All methods choose among the same
shapes and pay the same virtual seconds: start-up, training, evaluation.
Run: python -m benchmarks.calibration [--seeds 20] [--machines held-out]
"""

import numpy as np
import optuna

from benchmarks.simulated_machines import SimulatedMachine
from services.calibrator.measurement import Probe
from services.calibrator.space import STEP_TOKENS, Candidate, Space
from services.calibrator.trials import FAILED, bad_value
from shared.contracts import Shape
from shared.experiment.presets import PRESETS

optuna.logging.set_verbosity(optuna.logging.WARNING)

TARGET_S = 300.0
VOCABULARY = 8192
OFFERED: dict[str, Shape] = {name: preset.shape for name, preset in PRESETS.items() if name != "upstream"}


def space_of(machine: SimulatedMachine) -> Space:
    return Space(machine.envelope(OFFERED), OFFERED, vocab_size=VOCABULARY, target_s=TARGET_S)


class Trial:
    """A machine that is asked until its seconds are spent; remembers the best that it saw."""

    def __init__(self, machine: SimulatedMachine, seconds: float, allowance_s: float):
        self.machine, self.seconds, self.allowance_s = machine, seconds, allowance_s
        self.best: tuple[float, Shape | None] = (np.inf, None)
        self.spent_s = 0.0

    def value(self, candidate: Candidate) -> float | None:
        """None where it comes to no number."""
        probe = Probe(preset=candidate.preset, shape=candidate.shape, seconds=self.seconds)
        known = probe.key in self.machine.outcomes
        outcome = self.machine.measure(probe, limit_s=3 * self.seconds + 120)
        self.spent_s += 0 if known else outcome.wall_seconds
        if outcome.val_bpb is not None and self.spent_s <= self.allowance_s:
            self.best = min(self.best, (outcome.val_bpb, candidate.shape), key=lambda one: one[0])
        return outcome.val_bpb

    @property
    def is_over(self) -> bool:
        return self.spent_s >= self.allowance_s


def random_search(machine: SimulatedMachine, allowance_s: float, seed: int, seconds: float = TARGET_S) -> Shape | None:
    offers, trial = list(space_of(machine).candidates.values()), Trial(machine, seconds, allowance_s)
    for place in np.random.default_rng(seed).permutation(len(offers)):
        if trial.is_over:
            break
        trial.value(offers[place])
    return trial.best[1]


def plain_tpe(machine: SimulatedMachine, allowance_s: float, seed: int, seconds: float = TARGET_S) -> Shape | None:
    space, trial = space_of(machine), Trial(machine, seconds, allowance_s)
    study, values = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed)), []
    while not trial.is_over and len(study.trials) < 400:
        asked = study.ask(space.distributions)
        candidate = space.candidate(asked.params)
        value = trial.value(candidate) if candidate else None
        asked.set_constraint(FAILED, -1.0 if value is not None else 1.0)
        study.tell(asked, bad_value(values) if value is None else value)
        values += [] if value is None else [value]
    return trial.best[1]


def grid_search(machine: SimulatedMachine, allowance_s: float, seed: int) -> Shape | None:
    trial = Trial(machine, TARGET_S, np.inf)
    for candidate in grid(space_of(machine)):
        trial.value(candidate)
    return trial.best[1]


def grid(space: Space) -> list[Candidate]:
    """Every model, row length and windows with steps of 2^k tokens in the largest passes."""
    return list(
        {
            candidate.shape: candidate
            for values, candidate in space.offers.items()
            if values[-1] == 0 and STEP_TOKENS[values[-2]].bit_count() == 1
        }.values()
    )
