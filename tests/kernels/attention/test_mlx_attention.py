"""MLX attention: blocks against the explicit mask, gradients too; the work they save; the probe."""

from collections import Counter
from types import SimpleNamespace

import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from kernels.attention import mlx_blocked, mlx_reference, mlx_sdpa  # noqa: E402
from kernels.attention.mlx_choose import CANDIDATES, choose_attention  # noqa: E402


def qkv(T: int, H: int = 4, G: int = 2, D: int = 8):
    keys = mx.random.split(mx.random.key(T), 4)
    return [mx.random.normal((2, heads, T, D), key=key) for heads, key in zip((H, G, G, H), keys, strict=True)]


def outputs_and_gradients(attention, inputs, window):
    *primals, dy = inputs
    outputs, gradients = mx.vjp(lambda q, k, v: attention(q, k, v, window), primals, [dy])
    return [*outputs, *gradients]


@pytest.mark.parametrize("attention", CANDIDATES.values(), ids=CANDIDATES)
@pytest.mark.parametrize(
    ("length", "window"),
    [(1, 5), (16, 0), (16, 1), (31, 8), (32, 16), (33, 16), (33, 32), (40, 39), (64, 64), (64, 200)],
)
def test_outputs_and_gradients_follow_the_mask(monkeypatch, attention, length, window):
    monkeypatch.setattr(mlx_blocked, "SMALLEST_BLOCK", 4)
    inputs = qkv(length)
    expected = outputs_and_gradients(mlx_reference.attention, inputs, window)
    for mine, theirs in zip(outputs_and_gradients(attention, inputs, window), expected, strict=True):
        assert mx.allclose(mine, theirs, atol=2e-6)


@pytest.mark.parametrize(("length", "window"), [(1, 1), (100, 3), (1000, 500), (2048, 512), (2048, 2048), (4097, 1024)])
def test_blocks_cover_every_query_once_and_every_visible_key(length, window):
    plan = mlx_blocked.plan(length, window)
    assert [i for queries, _ in plan for i in queries] == list(range(length))
    for queries, keys in plan:
        assert keys.start <= max(0, queries.start - window)
        assert keys.stop == queries.stop


@pytest.mark.parametrize(
    ("length", "window", "share"),
    [(1024, 512, 15 / 32), (1024, 1024, 9 / 16), (2048, 1024, 15 / 32), (2048, 512, 21 / 64), (128, 64, 1)],
)
def test_short_windows_save_work(length, window, share):
    scores = sum(len(queries) * len(keys) for queries, keys in mlx_blocked.plan(length, window))
    assert scores / length**2 == share


def test_the_saving_is_in_the_graph_of_a_training_step():
    """Elements of the products of one forward and backward pass, counted by MLX itself."""

    def product_elements(attention) -> int:
        count = Counter()

        def keep(entry):
            if entry["type"] == "primitive" and entry["name"] in ("Matmul", "AddMM"):
                (_, left, _), (_, right, _) = entry["inputs"][:2]
                count["products"] += left[-2] * left[-1] * right[-1]

        mx.export_function(keep, lambda *inputs: outputs_and_gradients(attention, inputs, 512), *qkv(1024))
        return count["products"]

    saved = product_elements(mlx_blocked.attention) / product_elements(mlx_sdpa.attention)
    assert saved == pytest.approx(15 / 32, rel=0.01)


class Device(SimpleNamespace):
    """What choose_attention needs of an MlxDevice."""

    def __init__(self, dtype=mx.float32):
        super().__init__(arch="cpu", dtype=dtype, attention="auto", notes=[])

    def note(self, *note):
        self.notes.append(note)


def drops_the_window(q, k, v, window):
    return mlx_reference.attention(q, k, v, q.shape[2])


def has_no_backward(q, k, v, window):
    return mlx_reference.attention(q, mx.stop_gradient(k), v, window)


def does_not_launch(q, k, v, window):
    raise RuntimeError("No Metal back-end")


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (drops_the_window, "wrong: RuntimeError: output at window 16 is off"),
        (has_no_backward, "wrong: RuntimeError: dk at window 16 is off"),
        (does_not_launch, "wrong: RuntimeError: No Metal back-end"),
    ],
)
def test_a_wrong_kernel_is_passed_over_with_its_reason(dtype, wrong, reason):
    device = Device(dtype)
    candidates = {"wrong": wrong, "right": mlx_sdpa.attention}
    assert choose_attention(device, 16, 2, 1, [16, 32], candidates) is mlx_sdpa.attention
    assert device.notes[0][:2] == ("attention_backend", "right")
    assert reason in device.notes[0][2]


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16])
def test_blocks_are_the_first_choice(dtype):
    assert choose_attention(Device(dtype), 16, 2, 1, [128, 256]) is mlx_blocked.attention


def test_nothing_that_works_is_an_error():
    with pytest.raises(RuntimeError, match="no attention backend works on cpu: wrong"):
        choose_attention(Device(), 16, 2, 1, [16], {"wrong": drops_the_window})
