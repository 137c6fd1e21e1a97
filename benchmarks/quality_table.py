"""How far the quality table's predictions are from scores it has not seen, and whether its spread says so.

Not a test: it prints tables (docs/preset-calibration.md quotes them). First each published row from the other eight.
Then rows that were measured with the shipped recipe on two real texts (measured_rows.json): those of many tokens from
those of few. Then simulated datasets, whose laws are not the table's: some rows of one machine, and 40 candidates at
300 s that it has not run. `lies` are 30 rows that another machine claims of the same dataset, drawn from another
simulation. If the spread were exact, the shares within one and two of it would be 0.68 and 0.95, and `surprise`, the
root mean square of error / spread, 1; `order` is how often the likelier of two candidates is the better one.
Run: python -m benchmarks.quality_table [--seeds 20]
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.contracts import Shape
from shared.experiment.presets import PRESETS
from shared.quality import QualityRow, QualityTable, published_rows
from shared.quality.model_size import model_size
from shared.quality.rows import read_rows

OURS, VOCAB_SIZE = "e" * 64, 8192
FAMILIES = [name for name in PRESETS if name != "upstream"]
PROBE_SECONDS = (20, 80, 20, 300, 20, 80)
MEASURED = Path(__file__).with_name("measured_rows.json")
FEW_TOKENS = 600_000
NUM_CANDIDATES, NUM_LIES, WORTH_BPB = 40, 30, 0.003

Candidate = tuple[Shape, int]
Score = Callable[[Candidate], float]


@dataclass(frozen=True)
class World:
    """A simulated dataset, and a machine."""

    score: Score
    noise: float
    products_per_s: float
    """floating-point operations a second"""

    def tokens(self, shape: Shape, seconds: float) -> int:
        steps = seconds * self.products_per_s / model_size(shape, VOCAB_SIZE).flops_per_token / shape.total_batch_size
        return max(4, round(steps)) * shape.total_batch_size

    def run(self, shape: Shape, seconds: float, rng: np.random.Generator, machine: str = "here") -> QualityRow:
        tokens = self.tokens(shape, seconds)
        score = self.score((shape, tokens)) + self.noise * rng.standard_normal()
        return QualityRow(
            source="simulated",
            dataset=OURS,
            hardware_key=machine,
            shape=shape,
            num_tokens=tokens,
            val_bpb=max(score, 0.1),
        )


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_shape(rng: np.random.Generator) -> Shape:
    shape = PRESETS[str(rng.choice(FAMILIES))].shape
    seq_len = int(rng.choice([256, 512, 1024, 2048]))
    rows = max(1, int(rng.choice([8192, 12288, 16384, 32768, 65536])) // seq_len)
    changes: dict[str, int | str] = {"seq_len": seq_len, "total_batch_size": rows * seq_len, "device_batch_size": 1}
    changes["window_pattern"] = str(rng.choice(["L", "SL", "SSSL", "SSSSL"]))
    return Shape(**shape.model_dump() | changes)


def kaplan(rng: np.random.Generator) -> Score:
    """((Nc / N)^x + Dc / D)^y over a floor, a penalty for few steps, a parabola around the best batch."""
    floor, height, x, y = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9), rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.35)
    few, context, windows = rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.03), rng.normal(0, 0.01)
    best, curvature, aspect = rng.uniform(9.5, 11.5), rng.uniform(0.002, 0.03), rng.uniform(0, 0.02)
    untrained = rng.uniform(2.8, 4.0)

    def score(candidate: Candidate) -> float:
        shape, tokens = candidate
        size = model_size(shape, VOCAB_SIZE).block_params / 1e7
        batch = math.log(shape.total_batch_size) - best - 0.35 * math.log(tokens / 2e7)
        raw = (
            floor + height * (0.3 * size**-x + 2e7 / tokens) ** y + few * (50 * shape.total_batch_size / tokens) ** 0.7
        )
        raw += curvature * min(batch**2, 9) + context * math.log2(2048 / shape.seq_len)
        raw += windows * (shape.window_pattern != "L") + aspect * math.log(shape.d_model / shape.depth / 64) ** 2
        return untrained * math.tanh(raw / untrained)

    return score


def bent(rng: np.random.Generator) -> Score:
    """A logistic fall in log tokens whose middle moves with the size, plus waves that no law has."""
    top, bottom, middle = rng.uniform(2.6, 3.8), rng.uniform(0.6, 1.1), rng.uniform(13.5, 15.5)
    width, gain, slower = rng.uniform(1.5, 2.5), rng.uniform(0.05, 0.2), rng.uniform(0.0, 0.3)
    wave, phase = rng.uniform(0, 0.02), rng.uniform(0, 6, 3)

    def score(candidate: Candidate) -> float:
        shape, tokens = candidate
        size = math.log(model_size(shape, VOCAB_SIZE).block_params / 1e7)
        batch = math.log(shape.total_batch_size / 16384)
        at = math.log(tokens) - 0.35 * max(batch, 0) - 0.1 * max(-batch, 0) - slower * size
        floor = max(bottom - gain * size + 0.02 * math.log2(2048 / shape.seq_len), 0.2)
        waves = np.sin(np.array([size, math.log(shape.seq_len), 1.5 * batch]) + phase).sum()
        return float(floor + (top - bottom) / (1 + math.exp((at - middle) / width)) + wave * waves)

    return score


def draw_world(make: Callable[[np.random.Generator], Score], rng: np.random.Generator) -> World:
    return World(make(rng), noise=log_uniform(rng, 0.001, 0.02), products_per_s=log_uniform(rng, 1e11, 3e13))


@dataclass(frozen=True)
class Errors:
    """error = predicted - scored; of differences between two candidates likewise, but without the noise of runs."""

    error: np.ndarray
    spread: np.ndarray
    difference: np.ndarray
    difference_spread: np.ndarray
    predicted_difference: np.ndarray

    def __str__(self) -> str:
        z, pair_z = self.error / self.spread, self.difference / self.difference_spread
        true = self.predicted_difference - self.difference
        worth = np.abs(true) > WORTH_BPB
        order = np.mean((np.sign(true) == np.sign(self.predicted_difference))[worth]) if worth.any() else math.nan
        return (
            f"{np.median(np.abs(self.error)):8.4f} {np.median(self.spread):8.4f} {np.mean(np.abs(z) <= 1):6.2f} "
            f"{np.mean(np.abs(z) <= 2):6.2f} {np.sqrt(np.mean(z * z)):8.2f} {order:6.2f} "
            f"{np.mean(np.abs(pair_z) <= 1):6.2f} {np.mean(np.abs(pair_z) <= 2):6.2f}"
        )


HEADER = "|error|   spread  in 1s  in 2s surprise  order  pairs in 1s, 2s"


def held_out(table: QualityTable, world: World, rng: np.random.Generator) -> Errors:
    candidates = [(shape, world.tokens(shape, 300)) for shape in (draw_shape(rng) for _ in range(NUM_CANDIDATES))]
    truth = np.array([world.score(candidate) for candidate in candidates])
    found = table.predict_many(candidates)
    scored = truth + world.noise * rng.standard_normal(NUM_CANDIDATES)
    told = np.array([found.compare(index, index + 1) for index in range(0, NUM_CANDIDATES, 2)])
    true = truth[::2] - truth[1::2]
    return Errors(found.val_bpb - scored, found.spread, told[:, 0] - true, np.maximum(told[:, 1], 1e-9), told[:, 0])


def pooled(found: list[Errors]) -> Errors:
    return Errors(*(np.concatenate([getattr(one, name) for one in found]) for name in Errors.__dataclass_fields__))


def simulate(make: Callable, num_rows: int, num_lies: int, seed: int) -> Errors:
    rng = np.random.default_rng([seed, num_rows])
    world, other = draw_world(make, rng), draw_world(make, rng)
    rows = [world.run(draw_shape(rng), PROBE_SECONDS[index % 6], rng) for index in range(num_rows)]
    lies = [other.run(draw_shape(rng), 300, rng, machine="there") for _ in range(num_lies)]
    table = QualityTable((*published_rows(), *lies, *rows), OURS, hardware_key="here")
    return held_out(table, world, rng)


def print_published() -> None:
    rows, z = published_rows(), []
    for index, row in enumerate(rows):
        others = (*rows[:index], *rows[index + 1 :])
        found = QualityTable(others, row.dataset, hardware_key=row.hardware_key).predict(row.shape, row.num_tokens)
        z.append((found.val_bpb - row.val_bpb) / found.spread)
        print(
            f"  {row.source[:34]:34} {row.val_bpb:.4f}  {found.val_bpb:.4f} +- {found.spread:.4f}  {z[-1]:+.1f} spreads"
        )
    print(f"  surprise {np.sqrt(np.mean(np.square(z))):.2f}")


def print_measured() -> None:
    """Of each text, what its rows of few tokens say of those of more."""
    measured = read_rows(MEASURED).rows
    for dataset in sorted({row.dataset for row in measured}):
        rows = [row for row in measured if row.dataset == dataset]
        known = [row for row in rows if row.num_tokens <= FEW_TOKENS]
        table, z = QualityTable((*published_rows(), *known), dataset), []
        print(f"  {dataset}, from {len(known)} rows of at most {FEW_TOKENS:,} tokens:")
        for row in rows:
            found = table.predict(row.shape, row.num_tokens)
            if row not in known:
                z.append((found.val_bpb - row.val_bpb) / found.spread)
                print(f"    {row.source:46} {row.val_bpb:.4f}  {found.val_bpb:.4f} +- {found.spread:.4f}  {z[-1]:+.1f}")
        print(f"    surprise {np.sqrt(np.mean(np.square(z))):.2f}")


def print_simulated(num_seeds: int) -> None:
    print(f"  {'':28}{HEADER}")
    for make in (kaplan, bent):
        for num_lies, counts in ((0, (0, 3, 8, 20, 50)), (NUM_LIES, (0, 3, 6, 12, 25))):
            for num_rows in counts:
                found = pooled([simulate(make, num_rows, num_lies, seed) for seed in range(num_seeds)])
                print(f"  {make.__name__:7}{num_rows:3} rows {f'+ {num_lies} lies' if num_lies else '':12}{found}")


def print_times() -> None:
    rng = np.random.default_rng(0)
    world, shape = draw_world(kaplan, rng), PRESETS["m5-small"].shape
    candidates = [(draw_shape(rng), 10**7) for _ in range(1000)]
    QualityTable(published_rows(), OURS).predict(shape, 10**7)
    for num_rows in (9, 50, 200):
        table = QualityTable(tuple(world.run(draw_shape(rng), 80, rng) for _ in range(num_rows)), OURS)
        start = time.process_time()
        table.predict(shape, 10**7)
        fitted = time.process_time()
        table.predict_many(candidates)
        print(f"  {num_rows:3} rows: fit {fitted - start:.3f} s, 1,000 candidates {time.process_time() - fitted:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="simulated datasets of each kind and number of rows")
    arguments = parser.parse_args()
    print("published, each from the other eight: measured, predicted, error in spreads")
    print_published()
    print("measured, those of many tokens from those of few: measured, predicted, error in spreads")
    print_measured()
    print(f"simulated, {NUM_CANDIDATES} candidates at 300 s, medians:")
    print_simulated(arguments.seeds)
    print("seconds of CPU time:")
    print_times()


if __name__ == "__main__":
    main()
