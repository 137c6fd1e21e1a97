"""Machines that are formulas: a probe's outcome comes at once and costs virtual seconds.

A world says how models learn (one corpus, one recipe); a machine says how fast it trains and what it holds, and bends
its world a little. None of the forms is one that the calibrator fits: learning is two logistic curves in log tokens,
speed has ripples and cliffs. What a probe comes to depends only on the probe, so a second process sees the same.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from services.calibrator.envelope import fit_line
from services.calibrator.envelope_model import Envelope, Family, pass_tokens
from services.calibrator.measurement import Outcome, Probe
from shared.contracts import Rung, Shape, Status
from shared.evaluation.rungs import RUNG_TOKENS
from shared.experiment.presets import PRESETS

VOCABULARY = 8192
UNIFORM_BPB = 3.2
ENVELOPE_PASSES = (1, 2, 4)
EVAL_SPEEDUP = 2.5
"""tokens scored for each trained in the same time"""
MOST_UNIFORM, LEAST_UNIFORM = 0.004, 0.055
"""val_bpb by which half of cheap's rows differ from all of them, for one model beside another"""
SHARED_SCATTER = 1.5
"""times that, for all models alike"""


def matrix_params(shape: Shape) -> float:
    return 12.0 * shape.depth * shape.d_model**2


def flops_per_token(shape: Shape) -> float:
    """Products and attention, forward and backward."""
    pattern = (shape.window_pattern * shape.depth)[: shape.depth - 1] + "L"
    lookback = sum(shape.seq_len if letter == "L" else shape.seq_len / 2 for letter in pattern)
    return 6 * (matrix_params(shape) + VOCABULARY * shape.d_model) + 12 * shape.d_model * lookback


class Bend:
    """A smooth random function of size, tokens, batch and length: sines of random directions."""

    def __init__(self, seed: int, amplitude: float, waves: int = 24):
        random = np.random.default_rng([seed, 77])
        self.directions = random.normal(0, 0.45, (waves, 4))
        self.phases = random.uniform(0, 2 * np.pi, waves)
        self.scale = amplitude * np.sqrt(2 / waves)

    def at(self, shape: Shape, num_tokens: float) -> float:
        place = np.log([matrix_params(shape), num_tokens, shape.total_batch_size, shape.seq_len])
        return float(self.scale * np.cos(self.directions @ place + self.phases).sum())


@dataclass(frozen=True)
class World:
    """How models learn."""

    seed: int
    bend: float = 0.006
    """relative size of what no formula of few parameters describes"""
    speedup: float = 1.0
    """of learning: a world with another one has its best models elsewhere"""

    def bpb(self, shape: Shape, num_tokens: float) -> float:
        """Without noise, on cheap."""
        stretch = self._stretch
        size, tokens = matrix_params(shape) / 1e6, num_tokens * self.speedup
        best_batch = 1.0e5 * stretch[0] * (tokens / 5e8) ** self._batch_growth
        batch = np.log2(shape.total_batch_size / best_batch)
        useful = tokens / (1 + 0.15 * stretch[1] * (batch**2 if batch > 0 else 0.6 * batch**2))
        half = 9e4 * stretch[2] * size ** (0.08 * stretch[3])
        quick = 1 / (1 + (useful / half) ** (0.51 * stretch[4]))
        slow = 1 / (1 + (useful / (80 * half)) ** 0.5)
        unlearned = 0.74 * quick + 0.26 * slow
        floor = 0.52 + 0.44 * stretch[5] * size ** (-0.29 * stretch[6])
        learned = 1 - unlearned
        value = floor + (UNIFORM_BPB - floor) * unlearned + self._context(shape, learned, stretch[7])
        return float(value * (1 + self._bend.at(shape, num_tokens)))

    @cached_property
    def _stretch(self) -> list[float]:
        return np.exp(np.random.default_rng([self.seed, 5]).normal(0, 0.15, 8)).tolist()

    @cached_property
    def _batch_growth(self) -> float:
        """Between nanochat's 0.38 and the 0.6 that a CPU asked for (docs/preset-calibration.md)."""
        return float(np.random.default_rng([self.seed, 6]).uniform(0.38, 0.6))

    @cached_property
    def _bend(self) -> Bend:
        return Bend(self.seed, self.bend)

    @cached_property
    def rows(self) -> "RowsChosen":
        return RowsChosen(self.seed)

    def _context(self, shape: Shape, learned: float, stretch: float) -> float:
        """Long rows pay once a model has learned; short windows cost shallow models more."""
        missing = np.log2(2048 / shape.seq_len)
        pattern = (shape.window_pattern * shape.depth)[: shape.depth - 1]
        short = pattern.count("S") / max(1, len(pattern))
        long_rows = 0.045 * (1 - learned) ** 0.5 * (3 - missing)
        return 0.010 * stretch * learned**2 * missing**1.3 + long_rows + 0.04 * learned * short / shape.depth


class RowsChosen:
    """What a rung's rows say otherwise than cheap's: the same for all runs of a shape, so no seed averages it out.

    Of two checkpoints of one real text the difference over 4 rows was 0.36 off, over 32 rows 0.09, over 64 rows 0.05.
    Other texts are more uniform: each world draws how uniform its is.
    """

    def __init__(self, seed: int):
        self._seed = seed
        scatter = np.random.default_rng([seed, 8]).uniform(np.log(MOST_UNIFORM), np.log(LEAST_UNIFORM))
        self.scatter = float(np.exp(scatter))
        """of val_bpb: what half of cheap's rows say otherwise of a model"""
        self._bends: dict[Rung, Bend] = {}

    def otherwise(self, rung: Rung, shape: Shape, num_tokens: float) -> float:
        """To add to the val_bpb of cheap."""
        scatter = self.scatter * abs(RUNG_TOKENS[Rung.CHEAP] / RUNG_TOKENS[rung] - 1) ** 0.5
        if not scatter:
            return 0.0
        offset = float(np.random.default_rng([self._seed, RUNG_TOKENS[rung]]).normal(0, SHARED_SCATTER))
        bend = self._bends.setdefault(rung, Bend(self._seed + RUNG_TOKENS[rung], 1.0))
        return scatter * (offset + bend.at(shape, num_tokens))


@dataclass(frozen=True, kw_only=True)
class Hardware:
    name: str
    flops: float
    """reached by a wide model in large passes"""
    overhead_s: float
    """of one pass, per layer"""
    half_tokens: float
    """in one pass, at which half of it is reached"""
    memory_mb: float
    startup_s: float
    noise: float
    """standard deviation of val_bpb between seeds"""
    cliff_share: float = 1.0
    """of its memory, from which passes of the largest model fail although the envelope says that they fit"""
    crashes: float = 0.02
    """share of shapes whose probes crash"""
    hangs: float = 0.01
    bend: float = 0.002
    """what it adds to its world's"""


# name, flop/s, seconds of a layer, tokens at half speed, MiB, start-up, noise
_ROWS = (
    ("two-cores", 1.6e11, 2e-3, 150, 24_000, 8, 0.002),
    ("laptop", 9e12, 1.5e-3, 1500, 16_000, 6, 0.010),
    ("old-gpu", 4e13, 6e-4, 4000, 11_000, 25, 0.0007),
    ("workstation", 1e14, 4e-4, 6000, 80_000, 45, 0.0007),
    # not looked at while the search was tuned
    ("small-board", 3e10, 5e-3, 60, 4_000, 15, 0.03),
    ("eight-cores", 9e11, 1e-3, 300, 32_000, 7, 0.002),
    ("cliff", 2e13, 8e-4, 3000, 12_000, 20, 0.002),
    ("server", 4e14, 3e-4, 16_000, 80_000, 40, 0.0007),
    ("noisy-laptop", 5e12, 2e-3, 1000, 12_000, 6, 0.03),
)
_COLUMNS = ("name", "flops", "overhead_s", "half_tokens", "memory_mb", "startup_s", "noise")
HARDWARE = {str(row[0]): Hardware(**dict(zip(_COLUMNS, row, strict=True))) for row in _ROWS}  # type: ignore[arg-type]
HARDWARE["cliff"] = replace(HARDWARE["cliff"], cliff_share=0.25, crashes=0.06, hangs=0.04)
TUNED_ON = ("two-cores", "laptop", "old-gpu", "workstation")
HELD_OUT = ("small-board", "eight-cores", "cliff", "server", "noisy-laptop")


@dataclass
class SimulatedMachine:
    """The Machine of services/calibrator/measurement.py, with what it really is to compare against."""

    hardware: Hardware
    world: World
    seed: int = 0
    on_measure: Callable[[Probe], None] | None = None
    """called before a probe that was not measured before"""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    clock_s: float = 0.0
    """virtual seconds that its probes took"""

    def __post_init__(self) -> None:
        self.memory_mb = self.hardware.memory_mb
        self._bend = Bend(self.seed + 1000, self.hardware.bend)

    def measure(self, probe: Probe, limit_s: float) -> Outcome:
        if probe.key not in self.outcomes:
            if self.on_measure:
                self.on_measure(probe)
            self.outcomes[probe.key] = self._measured(probe, limit_s)
            self.clock_s += self.outcomes[probe.key].wall_seconds
        return self.outcomes[probe.key]

    def bpb(self, shape: Shape, seconds: float, rung: Rung = Rung.CHEAP) -> float:
        """What training for so long comes to on average. UNIFORM_BPB where it cannot be trained."""
        if self.failure(shape):
            return UNIFORM_BPB
        return self.bpb_after(shape, seconds * self.tok_per_sec(shape), rung)

    def bpb_after(self, shape: Shape, num_tokens: float, rung: Rung) -> float:
        if num_tokens < shape.total_batch_size:
            return UNIFORM_BPB
        learned = self.world.bpb(shape, num_tokens) * (1 + self._bend.at(shape, num_tokens))
        return learned + self.world.rows.otherwise(rung, shape, num_tokens)

    def failure(self, shape: Shape) -> Status | None:
        """How its probes end; None: they come to a number."""
        draw = self.random(shape.model_dump_json()).uniform()
        if draw < self.hardware.crashes:
            return Status.CRASHED
        if draw < self.hardware.crashes + self.hardware.hangs:
            return Status.TIMED_OUT
        return None if self.fits(shape) else Status.OUT_OF_MEMORY

    def random(self, text: str) -> np.random.Generator:
        """The same for the same text."""
        digest = hashlib.sha256(f"{self.seed} {text}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "big"))

    def tok_per_sec(self, shape: Shape) -> float:
        hardware, tokens = self.hardware, pass_tokens(shape)
        reached = hardware.flops * shape.d_model / (shape.d_model + 150)
        one_pass = (
            shape.depth * hardware.overhead_s + flops_per_token(shape) * (tokens + hardware.half_tokens) / reached
        )
        one_pass *= 1 + 0.03 * np.sin(3 * np.log2(tokens) + self.seed) + 0.15 * (tokens > 40 * hardware.half_tokens)
        update = 40 * (matrix_params(shape) + 3 * VOCABULARY * shape.d_model) / hardware.flops * 25
        return float(shape.total_batch_size / (shape.accumulation_steps * one_pass + update))

    def memory_of(self, shape: Shape) -> float:
        """MiB."""
        params = matrix_params(shape) + 3 * VOCABULARY * shape.d_model
        activations = pass_tokens(shape) * (34 * shape.depth * shape.d_model + 10 * VOCABULARY)
        return 400 + (16 * params + activations) / 2**20

    def fits(self, shape: Shape) -> bool:
        largest = matrix_params(shape) == max(matrix_params(preset.shape) for preset in PRESETS.values())
        return self.memory_of(shape) <= 0.93 * self.memory_mb * (self.hardware.cliff_share if largest else 1)

    def envelope(self, presets: Mapping[str, Shape]) -> Envelope:
        """As the calibrator's earlier phase would fit it, from three sizes of pass; it does not see the cliff."""
        families = tuple(self._family(name, shape) for name, shape in presets.items())
        return Envelope(memory_mb=self.memory_mb, families=families)

    def _family(self, name: str, shape: Shape) -> Family:
        sized = [_with_batch(shape, rows * max(1, 1024 // shape.seq_len)) for rows in ENVELOPE_PASSES]
        tokens = [float(pass_tokens(one)) for one in sized]
        memory = fit_line(tokens, [self.memory_of(one) for one in sized], base=0.0)
        seconds = [n / self.tok_per_sec(one) for n, one in zip(tokens, sized, strict=True)]
        passes = fit_line(tokens, seconds, base=0.0)
        largest = int((0.9 * self.memory_mb - memory.base) / memory.slope)
        return Family(
            preset=name, depth=shape.depth, d_model=shape.d_model, heads=shape.heads, memory_mb=memory,
            pass_seconds=passes, flops_per_token=flops_per_token(shape), largest_pass_tokens=max(0, largest),
        )  # fmt: skip

    def _measured(self, probe: Probe, limit_s: float) -> Outcome:
        shape, hardware, random = probe.shape, self.hardware, self.random(probe.key)
        startup = hardware.startup_s * random.uniform(0.9, 1.2)
        rate = self.tok_per_sec(shape) * random.normal(1, 0.004)
        eval_s = RUNG_TOKENS[probe.rung] / (EVAL_SPEEDUP * rate)
        wall = startup + probe.seconds + eval_s
        status = self.failure(shape)
        if status is Status.TIMED_OUT or wall > limit_s:
            return Outcome(probe=probe, status=Status.TIMED_OUT, startup_seconds=startup, wall_seconds=limit_s)
        if status:
            return Outcome(probe=probe, status=status, startup_seconds=startup, wall_seconds=startup + 5)
        steps = int(probe.seconds * rate / shape.total_batch_size)
        tokens = steps * shape.total_batch_size
        val_bpb = self.bpb_after(shape, tokens, probe.rung) + random.normal(0, hardware.noise)
        return Outcome(
            probe=probe, status=Status.OK, val_bpb=val_bpb, num_tokens=tokens, num_steps=steps, tok_per_sec=rate,
            peak_memory_mb=self.memory_of(shape), startup_seconds=startup, eval_seconds=eval_s, wall_seconds=wall,
        )  # fmt: skip


def simulated(name: str, seed: int, **world: float) -> SimulatedMachine:
    """That hardware in the world of that seed."""
    return SimulatedMachine(HARDWARE[name], World(seed, **world), seed)


def _with_batch(shape: Shape, rows: int) -> Shape:
    tokens = rows * shape.seq_len
    return shape.model_copy(update={"device_batch_size": rows, "total_batch_size": 8 * tokens})
