"""The calibrator's search against random search, plain TPE and an exhaustive grid, on simulated machines.

Not a test: it prints medians over seeds with bootstrap intervals. Regret is how far the chosen shape's true val_bpb
at 300 s, known to the simulation alone, is above that of the best shape on offer. All methods choose among the same
shapes and pay the same virtual seconds for start-up, training and evaluation: a twentieth of what the grid takes,
half an hour at most. Probes are scored on the rung that the calibrator would take. The search was tuned on other
machines than those that are the default here.
Run: OMP_NUM_THREADS=1 python -m benchmarks.calibration [--seeds 20] [--machines server ...] [--workers 1] [--keep FILE]
20 seeds of the five machines take about 20 minutes of one core; with --keep a later run goes on where one was ended.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from benchmarks.simulated_machines import EVAL_SPEEDUP, HELD_OUT, UNIFORM_BPB, SimulatedMachine, simulated
from services.calibrator.measurement import Probe
from services.calibrator.outlook import SearchInputs
from services.calibrator.prior import affordable_rung
from services.calibrator.projection import row_of
from services.calibrator.search import search
from services.calibrator.space import STEP_TOKENS, Candidate, Space
from services.calibrator.trials import FAILED, bad_value
from shared.contracts import Rung, Shape
from shared.data.dataset import MAX_VALIDATION_ROWS
from shared.experiment.presets import PRESETS
from shared.quality import QualityRow, QualityTable

optuna.logging.set_verbosity(optuna.logging.WARNING)

TARGET_S = 300.0
VOCABULARY = 8192
LONGEST_S = 1800.0
CORPUS = "simulated"
ELSEWHERE, NUM_PRIOR_ROWS, LIE = "laptop", 40, 20.0
"""the machine whose rows are the prior, and how much faster models learn in a lie"""
OFFERED: dict[str, Shape] = {name: preset.shape for name, preset in PRESETS.items() if name != "upstream"}


def space_of(machine: SimulatedMachine) -> Space:
    return Space(machine.envelope(OFFERED), OFFERED, vocab_size=VOCABULARY, target_s=TARGET_S)


def rung_of(machine: SimulatedMachine) -> Rung:
    """What the calibrator would score probes on: on a slow machine scoring must not cost more than training."""
    rates = sorted(machine.tok_per_sec(shape) for shape in OFFERED.values())
    return affordable_rung(1 / (EVAL_SPEEDUP * rates[len(rates) // 2]), MAX_VALIDATION_ROWS, TARGET_S)[0]


class Trial:
    """A machine that is asked until its seconds are spent; remembers the best that it saw."""

    def __init__(self, machine: SimulatedMachine, seconds: float, allowance_s: float):
        self.machine, self.seconds, self.allowance_s, self.rung = machine, seconds, allowance_s, rung_of(machine)
        self.best: tuple[float, Shape | None] = (np.inf, None)
        """before any number: what was asked first"""
        self.spent_s = 0.0

    def value(self, candidate: Candidate) -> float | None:
        """None where it comes to no number."""
        if self.best[1] is None:
            self.best = np.inf, candidate.shape
        probe = Probe(preset=candidate.preset, shape=candidate.shape, seconds=self.seconds, rung=self.rung)
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
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    values: list[float] = []
    while not trial.is_over and len(study.trials) < 400:
        asked = study.ask(space.distributions)
        candidate = space.candidate(asked.params)
        value = trial.value(candidate) if candidate else None
        asked.set_constraint(FAILED, -1.0 if value is not None else 1.0)
        study.tell(asked, bad_value(values) if value is None else value)
        values += [] if value is None else [value]
    return trial.best[1]


def grid(space: Space) -> list[Candidate]:
    """Every model, row length and windows with steps of 2^k tokens in the largest passes."""
    chosen = {
        candidate.shape: candidate
        for (*_, step, smaller), candidate in space.offers.items()
        if smaller == 0 and STEP_TOKENS[int(step)].bit_count() == 1
    }
    return list(chosen.values())


def grid_search(machine: SimulatedMachine) -> tuple[Shape | None, float]:
    """Its choice and the seconds that it took."""
    trial = Trial(machine, TARGET_S, np.inf)
    for candidate in grid(space_of(machine)):
        trial.value(candidate)
    return trial.best[1], trial.spent_s


def ours(machine: SimulatedMachine, allowance_s: float, seed: int, rows: Iterable[QualityRow] = ()) -> Shape:
    inputs = SearchInputs(
        envelope=machine.envelope(OFFERED), presets=OFFERED, allowance_s=allowance_s, vocab_size=VOCABULARY, seed=seed,
        rung=rung_of(machine),
    )  # fmt: skip
    table = QualityTable(tuple(rows), CORPUS, VOCABULARY, hardware_key=machine.hardware.name)
    with tempfile.TemporaryDirectory() as directory:
        return search(inputs, table, machine, Path(directory)).ranked[0].shape


def rows_from(machine: SimulatedMachine, seed: int) -> list[QualityRow]:
    """What a machine that was calibrated before has left in the table."""
    table = QualityTable((), CORPUS, VOCABULARY, hardware_key=machine.hardware.name)
    random, offers = np.random.default_rng(seed), list(space_of(machine).candidates.values())
    probes = [
        Probe(preset=one.preset, shape=one.shape, seconds=float(random.choice([37.5, 75, 150, 300])))
        for one in (offers[place] for place in random.permutation(len(offers))[:NUM_PRIOR_ROWS])
    ]
    outcomes = [machine.measure(probe, limit_s=10_000) for probe in probes]
    return [row_of(outcome, table) for outcome in outcomes if outcome.is_ok]


def methods(seed: int) -> dict[str, Callable[[SimulatedMachine, float], Shape | None]]:
    neighbour, liar = simulated(ELSEWHERE, seed), simulated(ELSEWHERE, seed, speedup=LIE)
    return {
        "random, 300 s": lambda machine, allowance_s: random_search(machine, allowance_s, seed),
        "random, 75 s": lambda machine, allowance_s: random_search(machine, allowance_s, seed, TARGET_S / 4),
        "TPE, 300 s": lambda machine, allowance_s: plain_tpe(machine, allowance_s, seed),
        "TPE, 75 s": lambda machine, allowance_s: plain_tpe(machine, allowance_s, seed, TARGET_S / 4),
        "ours": lambda machine, allowance_s: ours(machine, allowance_s, seed),
        "ours, prior": lambda machine, allowance_s: ours(machine, allowance_s, seed, rows_from(neighbour, seed)),
        "ours, lying prior": lambda machine, allowance_s: ours(machine, allowance_s, seed, rows_from(liar, seed)),
    }


def regrets(name: str, seed: int) -> dict[str, float]:
    """Of each method, the grid first; and how many seconds the grid took and the others were allowed."""
    truth = simulated(name, seed)
    best = min(truth.bpb(shape, TARGET_S) for shape in space_of(truth).candidates)
    choice, grid_s = grid_search(simulated(name, seed))
    allowance_s = min(LONGEST_S, grid_s / 20)
    found = {"grid": choice} | {
        method: run(simulated(name, seed), allowance_s) for method, run in methods(seed).items()
    }
    scores = {method: truth.bpb(shape, TARGET_S) if shape else UNIFORM_BPB for method, shape in found.items()}
    return {method: score / best - 1 for method, score in scores.items()} | {"grid s": grid_s, "allowed s": allowance_s}


class Kept:
    """Results of earlier runs in a file of JSON lines: [machine, seed, result]."""

    def __init__(self, path: Path | None):
        self.path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self._known = {(name, seed): result for name, seed, result in map(json.loads, lines)}

    def missing(self, name: str, seeds: Iterable[int]) -> list[int]:
        return [seed for seed in seeds if (name, seed) not in self._known]

    def add(self, name: str, seed: int, result: dict[str, float]) -> None:
        self._known[name, seed] = result
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps([name, seed, result]) + "\n")

    def of(self, name: str, seeds: Iterable[int]) -> list[dict[str, float]]:
        return [self._known[name, seed] for seed in seeds]


def interval(values: np.ndarray) -> str:
    """Median and its 90 % bootstrap interval, in percent."""
    drawn = np.median(np.random.default_rng(0).choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(drawn, (0.05, 0.95))
    return f"{100 * np.median(values):6.2f} [{100 * low:5.2f}, {100 * high:5.2f}]"


def report(title: str, results: list[dict[str, float]]) -> None:
    columns = {method: np.array([one[method] for one in results]) for method in results[0]}
    grid_s, allowed_s = columns.pop("grid s"), columns.pop("allowed s")
    share = 100 * float(np.median(allowed_s / grid_s))
    print(f"\n{title}: grid {np.median(grid_s):,.0f} s, the others {np.median(allowed_s):,.0f} s ({share:.1f} %)")
    print("  method              regret %               above the grid's choice %")
    for method, values in columns.items():
        print(f"  {method:18} {interval(values)}  {interval((1 + values) / (1 + columns['grid']) - 1)}", flush=True)


def options(description: str | None, machines: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--machines", nargs="+", default=machines)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="file of results, written after each seed and read at the start")
    return parser


def run_seeds(
    asked: argparse.Namespace, judge: Callable[[str, int], Any], tell: Callable[[str, list[Any]], None]
) -> None:
    """What `judge` finds of each machine with each seed, told for each machine and for all."""
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    kept, everything = Kept(asked.keep), []
    with ProcessPoolExecutor(asked.workers) as processes:
        for name in asked.machines:
            missing = kept.missing(name, seeds)
            for seed, result in zip(missing, processes.map(judge, [name] * len(missing), missing), strict=True):
                kept.add(name, seed, result)
            results = kept.of(name, seeds)
            tell(name, results)
            everything += results
    tell("all of them", everything)


def main() -> None:
    run_seeds(options(__doc__, HELD_OUT).parse_args(), regrets, report)


if __name__ == "__main__":
    main()
