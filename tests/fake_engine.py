"""An engine and a recipe in numpy: the trainer's mechanism without a framework, fast and exactly reproducible."""

from collections.abc import Callable
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from shared.contracts import Shape
from shared.machine.device import Precision

SHAPE = Shape(
    seq_len=8, depth=1, d_model=2, heads=1, device_batch_size=2, total_batch_size=32, window_pattern="L"
)  # fmt: skip
VOCAB_SIZE = 11
SHIFTS, WORD = (0, 32, 64, 96), 0xFFFFFFFF


class FakeEngine:
    """Implements what the loop, the warm-up and the checkpoints use of shared.engines.Engine."""

    name, version, device, choices = "fake", "1", "cpu", ()
    precision, compiles = Precision.FP32, True

    def __init__(self, seed: int = 0):
        self.random = np.random.default_rng(seed)
        self.handle = self
        self.memory_resets = self.synchronized = 0

    def from_host(self, tokens: np.ndarray) -> np.ndarray:
        return tokens.astype(np.int64)

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return np.array(array)

    def scalar(self, value: Any) -> float:
        return float(value)

    def synchronize(self) -> None:
        self.synchronized += 1

    def snapshot(self, state: dict) -> dict:
        return {group: {name: array.copy() for name, array in arrays.items()} for group, arrays in state.items()}

    def describe(self, array: np.ndarray) -> tuple[str, tuple[int, ...]]:
        return {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.dtype.itemsize), array.shape

    def store(self, target: np.ndarray, array: np.ndarray) -> None:
        target.view(array.dtype).reshape(array.shape)[...] = array

    def pin(self, buffer: np.ndarray) -> None: ...

    def load(self, path) -> dict:
        return load_file(path)

    def rng_state(self) -> dict:
        words = self.random.bit_generator.state["state"]
        return {name: np.array([words[name] >> shift & WORD for shift in SHIFTS]) for name in ("state", "inc")}

    def set_rng_state(self, state: dict) -> None:
        full = self.random.bit_generator.state
        for name in ("state", "inc"):
            full["state"][name] = sum(int(word) << shift for word, shift in zip(state[name], SHIFTS, strict=True))
        self.random.bit_generator.state = full

    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, MemoryError)

    def peak_memory_mb(self) -> float:
        return 1.0

    def reset_peak_memory(self) -> None:
        self.memory_resets += 1


class FakeRecipe:
    """A bias per token, pulled towards the tokens seen, with a little noise of the engine's generator."""

    def __init__(self, engine: FakeEngine, before_step: Callable[["FakeRecipe"], None] = lambda recipe: None):
        self.engine, self.before_step = engine, before_step
        self.weights, self.momentum, self.num_steps = np.zeros(VOCAB_SIZE), np.zeros(VOCAB_SIZE), 0
        self.seen: list[tuple[float, int]] = []
        """(progress, first token) of every step"""

    def step(self, rows: np.ndarray, progress: float) -> float:
        self.before_step(self)
        self.seen.append((progress, int(rows[0, 0])))
        self.num_steps += 1
        frequencies = np.bincount(rows.ravel(), minlength=VOCAB_SIZE) / rows.size
        self.momentum = 0.9 * self.momentum + frequencies + 1e-3 * self.engine.random.standard_normal(VOCAB_SIZE)
        self.weights = self.weights + (1 - progress) * self.momentum
        return 10.0 / self.num_steps

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.weights, (*tokens.shape, VOCAB_SIZE))

    def state(self) -> dict:
        return {"model": {"weights": self.weights}, "optimizer": {"momentum": self.momentum}}

    def load(self, state: dict) -> None:
        self.weights = state["model"]["weights"].copy()
        if "optimizer" in state:
            self.momentum = state["optimizer"]["momentum"].copy()
