"""Both recipes with the same weights at a small width, blocks and chunks small enough that every path is taken."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")
torch = pytest.importorskip("torch")

from mlx import nn  # noqa: E402

from kernels.attention import mlx_blocked  # noqa: E402
from kernels.cross_entropy_full import mlx_chunked  # noqa: E402
from services.trainer.recipes import gpt_mlx, gpt_torch  # noqa: E402
from shared.contracts import Shape  # noqa: E402
from shared.engines import open_engine  # noqa: E402
from shared.experiment.presets import PRESETS  # noqa: E402

VOCAB_SIZE = 97
PASSES, ROWS_PER_PASS, SEQ_LEN, HEAD_DIM = 2, 2, 48, 16


def small(preset: str) -> Shape:
    """The preset's depth, heads and windows, narrow."""
    shape = PRESETS[preset].shape
    return Shape(
        seq_len=SEQ_LEN,
        depth=shape.depth,
        d_model=HEAD_DIM * shape.heads,
        heads=shape.heads,
        device_batch_size=ROWS_PER_PASS,
        total_batch_size=PASSES * ROWS_PER_PASS * SEQ_LEN,
        window_pattern=shape.window_pattern,
    )


def take_every_path(monkeypatch) -> None:
    """Without it, rows this short would be one block and one chunk."""
    monkeypatch.setattr(mlx_blocked, "SMALLEST_BLOCK", 7)
    monkeypatch.setattr(mlx_chunked, "CHUNK_ELEMENTS", 40 * VOCAB_SIZE)


@dataclass
class Twin:
    """One engine's recipe."""

    engine: Any
    recipe: Any

    def logits(self, tokens: np.ndarray) -> np.ndarray:
        return self.engine.to_host(self.recipe.logits(self.engine.from_host(tokens)))

    def step(self, rows: np.ndarray, progress: float) -> float:
        return self.engine.scalar(self.recipe.step(self.engine.from_host(rows), progress))

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            group: {name: self.engine.to_host(array) for name, array in arrays.items()}
            for group, arrays in self.recipe.state().items()
        }

    def gradients(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Of the loss over all rows in one pass, by name."""
        model, rows = self.recipe.model, self.engine.from_host(rows)
        if self.engine.name == "mlx":
            _, tree = nn.value_and_grad(model, model.loss)(rows)
            return {name: self.engine.to_host(array) for name, array in gpt_mlx.named(tree).items()}
        model.loss(rows).backward()
        found = {name: p.grad.float().numpy() for name, p in model.named_parameters()}
        model.zero_grad(set_to_none=True)
        return found


def make_twins(shape: Shape, dtype: str = "fp32", compile: str = "off") -> tuple[Twin, Twin]:
    """(torch, mlx) with equal weights and optimizers, none of them zero."""
    engines = (
        open_engine("torch", "cpu", dtype=dtype, compile="off"),
        open_engine("mlx", "cpu", dtype=dtype, compile=compile),
    )
    recipes = [
        module.build(shape, VOCAB_SIZE, 0, engine.handle)
        for module, engine in zip((gpt_torch, gpt_mlx), engines, strict=True)
    ]
    state = recipes[1].state()
    for group, arrays in state.items():
        for name, array in arrays.items():
            arrays[name] = mx.array(telling_values(group, name, np.array(array)))
    recipes[1].load(state)
    recipes[0].load(
        {group: {name: torch.tensor(np.array(a)) for name, a in arrays.items()} for group, arrays in state.items()}
    )
    return Twin(engines[0], recipes[0]), Twin(engines[1], recipes[1])


def telling_values(group: str, name: str, array: np.ndarray) -> np.ndarray:
    """Random values of a size at which a mistake shows: a weight that is zero hides whatever it multiplies, and logits
    near zero hide the softcap."""
    random = np.random.default_rng(sum(f"{group}{name}".encode()))
    if group == "optimizer":
        if name == "steps" or name.endswith(".step"):
            return np.full_like(array, 3)
        values = 1e-3 * random.normal(size=array.shape)
        return (
            np.square(values).astype(array.dtype) if name.endswith(("sq", "variance")) else values.astype(array.dtype)
        )
    scale = {"embed.weight": 1.0, "head.weight": 1.5, "resid_lambdas": 0.1, "x0_lambdas": 0.1}.get(name, 0.3)
    center = 1.0 if name == "resid_lambdas" else 0.0
    return (center + scale * random.normal(size=array.shape)).astype(array.dtype)


def make_rows(shape: Shape, seed: int = 0, vocab_size: int = VOCAB_SIZE) -> np.ndarray:
    """Rows with something to learn: tokens follow each other with a little noise."""
    walk = np.random.default_rng(seed).integers(0, 3, (shape.rows_per_step, shape.seq_len + 1)).cumsum(axis=1)
    return (walk % vocab_size).astype(np.uint16)


def largest_difference(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> tuple[float, str]:
    """Of arrays by name, relative to the largest value of each array; and where."""
    assert left.keys() == right.keys()
    return max((float(np.abs(left[n] - right[n]).max() / max(np.abs(left[n]).max(), 1e-30)), n) for n in left)
