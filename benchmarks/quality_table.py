"""How far the quality table's predictions are from scores it has not seen, and whether its spread says so.

Not a test: it prints tables (docs/preset-calibration.md quotes them). First each published row from the other eight. Then
simulated datasets, whose laws are not the table's: a few rows of one machine, short probes first, and 40 held-out
candidates. `within 1` and `within 2` are the shares of errors of at most one and two spreads (0.68 and 0.95 would be
exact), `order` how often the more likely of two candidates was the better one, `surprise` the root mean square of
(error / spread). Times are CPU seconds of this process, ratios between them are what counts.
Run: python -m benchmarks.quality_table [--seeds 20]
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shared.contracts import Shape
from shared.evaluation.model_size import model_size
from shared.evaluation.quality import QualityRow, QualityTable, published_rows
from shared.experiment.presets import PRESETS

OURS = "e" * 64
FAMILIES = [name for name in PRESETS if name != "upstream"]
Candidate = tuple[Shape, int]


@dataclass(frozen=True)
class Errors:
    """error = predicted - true."""

    error: np.ndarray
    spread: np.ndarray
    order: float = math.nan

    def __str__(self) -> str:
        z = np.abs(self.error / self.spread)
        return (
            f"median |error| {np.median(np.abs(self.error)):.4f}  median spread {np.median(self.spread):.4f}  "
            f"within 1 {np.mean(z <= 1):.2f}  within 2 {np.mean(z <= 2):.2f}  surprise {np.sqrt(np.mean(z * z)):.2f}"
            + ("" if math.isnan(self.order) else f"  order {self.order:.2f}")
        )


@dataclass(frozen=True)
class World:
    """A simulated dataset and machine."""

    name: str
    score: Callable[[Candidate], float]
    noise: float
    tok_per_sec: float
    """of a model of 10 million weights in products"""

    def run(self, shape: Shape, seconds: float, rng: np.random.Generator) -> QualityRow:
        tokens = self.tokens(shape, seconds)
        score = self.score((shape, tokens)) + self.noise * rng.standard_normal()
        return QualityRow(source="simulated", dataset=OURS, shape=shape, num_tokens=tokens, val_bpb=max(score, 0.1), hardware_key="here")  # fmt: skip

    def tokens(self, shape: Shape, seconds: float) -> int:
        steps = seconds * self.tok_per_sec * 6e7 / model_size(shape, 8192).flops_per_token / shape.total_batch_size
        return max(4, round(steps)) * shape.total_batch_size


def draw_shape(rng: np.random.Generator) -> Shape:
    shape = PRESETS[str(rng.choice(FAMILIES))].shape
    seq_len = int(rng.choice([256, 512, 1024, 2048]))
    total = seq_len * max(1, int(rng.choice([8192, 12288, 16384, 32768, 65536])) // seq_len)
    changes = {"seq_len": seq_len, "total_batch_size": total, "device_batch_size": 1}
    changes["window_pattern"] = str(rng.choice(["L", "SL", "SSSL", "SSSSL"]))
    return Shape(**shape.model_dump() | changes)


def kaplan(rng: np.random.Generator) -> Callable[[Candidate], float]:
    """((Nc / N)^x + Dc / D)^y over a floor, a penalty for few steps, a parabola around the best batch."""
    floor, height, x, y = rng.uniform(0.4, 1.0), rng.uniform(0.4, 0.9), rng.uniform(0.5, 1.0), rng.uniform(0.2, 0.35)
    few, context, windows = rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.03), rng.normal(0, 0.01)
    best, curvature, aspect = rng.uniform(9.5, 11.5), rng.uniform(0.002, 0.03), rng.uniform(0, 0.02)
    untrained = rng.uniform(2.8, 4.0)

    def score(candidate: Candidate) -> float:
        shape, tokens = candidate
        size = model_size(shape, 8192).block_params / 1e7
        steps = tokens / shape.total_batch_size
        batch = math.log(shape.total_batch_size) - best - 0.35 * math.log(tokens / 2e7)
        raw = floor + height * (0.3 * size**-x + 2e7 / tokens) ** y + few * (50 / steps) ** 0.7
        raw += curvature * min(batch**2, 9) + context * math.log2(2048 / shape.seq_len)
        raw += windows * (shape.window_pattern != "L") + aspect * math.log(shape.d_model / shape.depth / 64) ** 2
        return untrained * math.tanh(raw / untrained) ** 1.0

    return score


def bent(rng: np.random.Generator) -> Callable[[Candidate], float]:
    """A logistic fall in log tokens whose middle moves with the size, plus waves that no law has."""
    top, bottom, middle, width = rng.uniform(2.6, 3.8), rng.uniform(0.6, 1.1), rng.uniform(13.5, 15.5), rng.uniform(1.5, 2.5)  # fmt: skip
    gain, slower = rng.uniform(0.05, 0.2), rng.uniform(0.0, 0.3)
    wave, phase = rng.uniform(0, 0.02), rng.uniform(0, 6, 4)

    def score(candidate: Candidate) -> float:
        shape, tokens = candidate
        size, batch = math.log(model_size(shape, 8192).block_params / 1e7), math.log(shape.total_batch_size / 16384)
        at = math.log(tokens) - 0.35 * max(batch, 0) - 0.1 * max(-batch, 0) - slower * size
        floor = bottom - gain * size + 0.02 * math.log2(2048 / shape.seq_len)
        bumps = wave * (math.sin(size + phase[0]) + math.sin(math.log(shape.seq_len) + phase[1]) + math.sin(batch * 1.5 + phase[2]))  # fmt: skip
        return max(floor, 0.2) + (top - bottom) / (1 + math.exp((at - middle) / width)) + bumps

    return score


def leave_one_out() -> Errors:
    rows, errors, spreads = published_rows(), [], []
    for index, row in enumerate(rows):
        others = (*rows[:index], *rows[index + 1 :])
        found = QualityTable(others, row.dataset, hardware_key=row.hardware_key).predict(row.shape, row.num_tokens)
        print(f"  {row.source[:40]:42} {row.val_bpb:.4f}  predicted {found.val_bpb:.4f} +- {found.spread:.4f}")
        errors.append(found.val_bpb - row.val_bpb)
        spreads.append(found.spread)
    return Errors(np.array(errors), np.array(spreads))


def held_out(world: World, num_rows: int, rng: np.random.Generator) -> Errors:
    """Half of the rows are probes of 20 s, a third of 80 s, the rest of 300 s; the candidates all run 300 s."""
    seconds = [20, 80, 20, 300, 20, 80]
    rows = [world.run(draw_shape(rng), seconds[index % 6], rng) for index in range(num_rows)]
    table = QualityTable((*published_rows(), *rows), OURS, hardware_key="here")
    shapes = [draw_shape(rng) for _ in range(40)]
    candidates = [(shape, world.tokens(shape, 300)) for shape in shapes]
    truth = np.array([world.score(candidate) for candidate in candidates])
    found = table.predict_many(candidates)
    scored = truth + world.noise * rng.standard_normal(len(truth))
    pairs = rng.integers(0, len(truth), (200, 2))
    pairs = pairs[np.abs(truth[pairs[:, 0]] - truth[pairs[:, 1]]) > 0.003]
    agreed = np.sign(np.diff(found.val_bpb[pairs], axis=1)) == np.sign(np.diff(truth[pairs], axis=1))
    return Errors(found.val_bpb - scored, found.spread, float(agreed.mean()))


def differences(world: World, num_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Errors of compare() over their spread."""
    rows = [world.run(draw_shape(rng), 20 if index % 2 else 80, rng) for index in range(num_rows)]
    table = QualityTable((*published_rows(), *rows), OURS, hardware_key="here")
    candidates = [(shape, world.tokens(shape, 300)) for shape in (draw_shape(rng) for _ in range(20))]
    found, truth = table.predict_many(candidates), [world.score(candidate) for candidate in candidates]
    pairs = [(first, first + 1) for first in range(0, 20, 2)]
    told = [(found.compare(*pair), truth[pair[0]] - truth[pair[1]]) for pair in pairs]
    return np.array([(difference - true) / max(spread, 1e-9) for (difference, spread), true in told])


def draw_world(kind: str, rng: np.random.Generator) -> World:
    make = {"kaplan": kaplan, "bent": bent}[kind]
    return World(kind, make(rng), float(np.exp(rng.uniform(np.log(0.001), np.log(0.02)))), float(np.exp(rng.uniform(np.log(2e3), np.log(5e5)))))  # fmt: skip


def pooled(found: list[Errors]) -> Errors:
    error, spread = (np.concatenate([getattr(one, name) for one in found]) for name in ("error", "spread"))
    return Errors(error, spread, float(np.mean([one.order for one in found])))


def simulated(num_seeds: int) -> None:
    for kind in ("kaplan", "bent"):
        for num_rows in (0, 3, 8, 20, 50):
            rngs = [np.random.default_rng([seed, num_rows]) for seed in range(num_seeds)]
            found = pooled([held_out(draw_world(kind, rng), num_rows, rng) for rng in rngs])
            z = np.abs(np.concatenate([differences(draw_world(kind, rng), num_rows, rng) for rng in rngs]))
            print(
                f"  {kind:7} {num_rows:3} rows  {found}  compare within 1 {np.mean(z <= 1):.2f}, 2 {np.mean(z <= 2):.2f}"
            )


def timed() -> None:
    rng = np.random.default_rng(0)
    world = draw_world("kaplan", rng)
    shape = PRESETS["m5-small"].shape
    QualityTable(published_rows(), OURS).predict(shape, 10**7)
    for num_rows in (20, 50, 200):
        rows = [world.run(draw_shape(rng), 80, rng) for _ in range(num_rows)]
        table = QualityTable(rows, OURS)
        start = time.process_time()
        table.predict(shape, 10**7)
        fitted = time.process_time()
        table.predict_many([(draw_shape(rng), 10**7) for _ in range(1000)])
        print(f"  {num_rows:3} rows: fit {fitted - start:.3f} s, 1,000 candidates {time.process_time() - fitted:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="simulated datasets of each kind and number of rows")
    arguments = parser.parse_args()
    print("published, each from the other eight:")
    print(f"  {leave_one_out()}")
    print("simulated, 40 candidates at 300 s:")
    simulated(arguments.seeds)
    print("CPU time:")
    timed()


if __name__ == "__main__":
    main()
