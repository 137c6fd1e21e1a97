"""Walks the graph of one bf16 step, forward, backward and optimizer, and fails where float32 crept in.

The original project's MLX port computes in float32 because of three innocent lines; each is put back here to show
that the walk finds it.
"""

from dataclasses import dataclass

import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from kernels.block_prelude import mlx_reference as block_prelude  # noqa: E402
from kernels.cross_entropy_full.mlx_chunked import loss_and_gradients  # noqa: E402
from services.trainer.recipes import gpt_mlx  # noqa: E402
from shared.contracts import Shape  # noqa: E402
from shared.engines import open_engine  # noqa: E402

ROWS, T, VOCAB_SIZE = 2, 47, 89  # primes: a dimension of 47 or 94 is tokens, one of 89 is the vocabulary
SHAPE = Shape(
    seq_len=T, depth=3, d_model=32, heads=2, device_batch_size=ROWS, total_batch_size=2 * ROWS * T, window_pattern="SL"
)  # fmt: skip
PRODUCTS = {"Matmul", "AddMM", "BlockMaskedMM", "GatherMM", "Softmax", "ScaledDotProductAttention"}
MOVES = {"Gather", "AsType", "Squeeze", "ExpandDims", "Reshape", "Flatten", "Unflatten", "Broadcast", "Depends"}


@dataclass(frozen=True)
class Node:
    name: str
    inputs: list
    outputs: list
    """(label, shape, dtype) each"""

    def is_float32_product(self) -> bool:
        return self.name in PRODUCTS and any(dtype == mx.float32 for _, _, dtype in self.inputs + self.outputs)

    def is_float32_work_on_activations(self) -> bool:
        """Arithmetic over [.., T, ..] in float32; the logits' own cross-entropy is meant to be."""
        return self.name not in MOVES and any(
            dtype == mx.float32 and {T, ROWS * T} & set(shape[:-1]) and shape[-1] not in (1, VOCAB_SIZE)
            for _, shape, dtype in self.outputs
        )


@pytest.fixture(autouse=True)
def seen_from_outside(monkeypatch):
    """mx.fast's norm and rotation are float32 inside and keep the dtype outside (asserted below); on a CPU they would
    unfold into the graph. The loss computes with its real functions, in a form that can be exported."""
    monkeypatch.setattr(mx.fast, "rms_norm", lambda x, weight, eps: 2 * x)
    monkeypatch.setattr(mx.fast, "rope", lambda x, *sizes, **options: 2 * x)
    monkeypatch.setitem(gpt_mlx.OPS, "cross_entropy_full", loss_with_real_gradients)


def loss_with_real_gradients(x_NC, w_VC, targets_N, cap):
    loss, dx_NC, dw_VC = loss_and_gradients(mx.stop_gradient(x_NC), mx.stop_gradient(w_VC), targets_N, mx.array(cap))
    return loss + (dx_NC * x_NC).sum() + (dw_VC * w_VC).sum()


def walk(dtype: str = "bf16") -> list[Node]:
    recipe = gpt_mlx.build(SHAPE, VOCAB_SIZE, 0, open_engine("mlx", "cpu", dtype=dtype, compile="off").handle)
    nodes = []

    def step(*arguments):
        loss = recipe._train(*arguments)
        state = recipe.state()
        return [loss, *state["model"].values(), *state["optimizer"].values()]

    def keep(entry):
        if entry["type"] == "primitive":
            nodes.append(Node(entry["name"], entry["inputs"], entry["outputs"]))

    rows = mx.zeros((2 * ROWS, T + 1), dtype=mx.int32)
    mx.export_function(keep, step, rows, *[mx.array(0.5)] * 4)
    return nodes


def promotions(nodes: list[Node]) -> list[str]:
    found = [node for node in nodes if node.is_float32_product() or node.is_float32_work_on_activations()]
    return [f"{node.name} {node.inputs} -> {node.outputs}" for node in found]


def test_a_bf16_step_has_no_float32_product_and_no_float32_activation():
    nodes = walk()
    assert sum(node.name in PRODUCTS for node in nodes) > 150, "the walk saw forward, backward and Polar Express"
    assert promotions(nodes) == []


def test_masters_and_moments_are_float32():
    recipe = gpt_mlx.build(SHAPE, VOCAB_SIZE, 0, open_engine("mlx", "cpu", dtype="bf16").handle)
    state = recipe.state()
    state["optimizer"].pop("steps")
    assert {array.dtype for arrays in state.values() for array in arrays.values()} == {mx.float32}


def test_fp32_can_be_asked_for():
    assert all(dtype == mx.float32 for node in walk("fp32") if node.name in PRODUCTS for _, _, dtype in node.outputs)


def multiply_by_float32_weights(monkeypatch):
    monkeypatch.setattr(gpt_mlx.Linear, "__call__", lambda self, x: x @ self.weight.T)


def blend_with_float32_scalars(monkeypatch):
    for module in (gpt_mlx, block_prelude):
        monkeypatch.setattr(module, "residual_blend", lambda x, x0, a, b: a * x + b * x0)


def divide_by_a_float32_norm(monkeypatch):
    def polar_express(g, steps):
        x = g / mx.sqrt(g.astype(mx.float32).square().sum((-2, -1), keepdims=True))
        return x @ x.swapaxes(-2, -1) @ x

    monkeypatch.setattr(gpt_mlx, "polar_express", polar_express)


@pytest.mark.parametrize("mistake", [multiply_by_float32_weights, blend_with_float32_scalars, divide_by_a_float32_norm])
def test_the_walk_finds_the_promotions_of_the_original_port(monkeypatch, mistake):
    mistake(monkeypatch)
    assert promotions(walk()) != []
