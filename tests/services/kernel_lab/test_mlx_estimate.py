"""What is counted of an MLX step, against counts by hand and against what mx.compile itself makes of the same graph."""

import re
import shutil
from collections import Counter

import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from kernels.attention import mlx_choose  # noqa: E402
from kernels.cross_entropy_full import mlx_reference as plain_loss  # noqa: E402
from services.kernel_lab.estimate.mlx_fusion import fuse  # noqa: E402
from services.kernel_lab.estimate.mlx_kernels import Layout, partitions  # noqa: E402
from services.kernel_lab.estimate.mlx_step import arrays_of, counted  # noqa: E402
from services.kernel_lab.estimate.mlx_trace import stand_ins, trace  # noqa: E402
from shared.contracts import Shape  # noqa: E402
from shared.engines import open_engine  # noqa: E402
from shared.kernel_lab.estimate import Kind  # noqa: E402

M, K, N = 64, 96, 256
BF16, FLOAT32 = 2, 4  # bytes
CPU_NAMES = {"Sum": "Reduce", "CumSum": "Scan", "Rsqrt": "Sqrt"}
"""of primitives, as a drawn graph says them and as an exported one does"""


def bf16(*shape):
    return mx.zeros(shape, dtype=mx.bfloat16)


def kernels(function, *inputs, compiled=True):
    """{name and shape of the result: KernelCount}"""
    with stand_ins():
        graph = trace(function, *inputs)
    step = counted(fuse(graph) if compiled else graph, state_bytes=0)
    return {one.kernel: one for one in step.kernels}


def total(found):
    return tuple(sum(getattr(one, name) for one in found.values()) for name in ("launches", "bytes", "flops"))


def test_a_product_and_the_elementwise_kernel_behind_it_equal_the_count_by_hand():
    found = kernels(lambda x, w: [mx.exp(x @ w) * 2 + 1], bf16(M, K), bf16(K, N))
    product = found.pop(f"Matmul {M}x{N}")
    assert (product.launches, product.bytes, product.flops) == (1, BF16 * (M * K + K * N + M * N), 2 * M * K * N)
    (pointwise,) = found.values()
    assert (pointwise.kind, pointwise.launches) == (Kind.METAL, 1)
    assert pointwise.bytes == BF16 * (2 * M * N + 2)  # and the two constants


def test_uncompiled_each_primitive_is_a_kernel_that_reads_and_writes():
    found = kernels(lambda x: [mx.exp(x) * x], bf16(M, N), compiled=False)
    assert total(found) == (2, BF16 * (2 + 3) * M * N, 0)


def test_forward_and_backward_of_a_product_are_three_products():
    loss = lambda x, w: (x @ w).square().sum()  # noqa: E731
    found = kernels(lambda x, w: list(mx.grad(loss, argnums=(0, 1))(x, w)), bf16(M, K), bf16(K, N))
    products = {name for name in found if name.startswith("Matmul")}
    assert products == {f"Matmul {rows}x{columns}" for rows, columns in ((M, N), (M, K), (K, N))}
    assert total(found)[2] == 3 * 2 * M * K * N


def test_views_start_no_kernel_and_a_reshape_copies_where_a_view_is_not_enough():
    heads = lambda x: x.reshape(8, 8, 4, 24).swapaxes(1, 2)  # noqa: E731
    assert total(kernels(lambda x: [mx.exp(heads(x))], bf16(M, K))) == (1, BF16 * 2 * M * K, 0)
    copied = kernels(lambda x: [mx.exp(heads(x).reshape(8, 4, 192))], bf16(M, K))
    assert copied["Reshape 8x4x192"].bytes == BF16 * 2 * M * K
    assert total(copied)[0] == 2


def test_a_broadcast_is_read_as_the_little_that_is_stored():
    found = kernels(lambda x, row: [x * row], bf16(M, N), bf16(1, N))
    assert total(found) == (1, BF16 * (2 * M * N + N), 0)


@pytest.mark.parametrize(("asked", "reached"), [(10, 10), (500, M)])
def test_what_goes_by_an_index_moves_the_rows_that_it_reaches_and_at_most_the_whole_table(asked, reached):
    row, places = BF16 * K, mx.zeros((asked,), dtype=mx.uint32)
    looked_up = kernels(lambda table, at: [table[at]], bf16(M, K), places)
    assert total(looked_up)[1] == 4 * asked + row * (reached + asked)
    added = kernels(lambda table, at, more: [table.at[at].add(more)], bf16(M, K), places, bf16(asked, K))
    assert total(added)[1] == 2 * row * M + 4 * asked + row * asked + 2 * row * reached


def test_metals_own_norm_and_rotation_are_one_kernel_each_forward_and_backward():
    def loss(x):
        x = mx.fast.rope(x, 96, traditional=False, base=1e4, scale=1.0, offset=0)
        return mx.fast.rms_norm(x, None, 1e-5).astype(mx.float32).square().sum()

    found = kernels(lambda x: [mx.grad(loss)(x)], bf16(2, 4, M, K))
    once, shape = BF16 * 8 * M * K, f"2x4x{M}x{K}"
    for name, arrays in (("RMSNorm", 2), ("RoPE", 2), ("RMSNormVJP", 3), ("RoPEVJP", 2)):
        kernel = found[f"{name} {shape}"]
        assert (kernel.launches, kernel.bytes) == (1, arrays * once)


def test_a_loss_with_a_derivative_of_its_own_leaves_no_trace_of_how_it_was_exported():
    with stand_ins():

        @mx.custom_function
        def loss(x):
            return x.sum(), mx.exp(x)

        @loss.vjp
        def _(primals, cotangents, outputs):
            return (outputs[1] * cotangents[0],)

        graph = trace(lambda x: list(mx.value_and_grad(lambda x: loss(x)[0] / 4)(x)), bf16(M, N))
    names = Counter(node.name for node in graph.nodes)
    assert (names["Reduce"], names["Exp"], names["Multiply"]) == (1, 1, 2)


def test_a_long_sum_of_a_small_product_is_divided_and_put_together_by_a_second_kernel():
    found = kernels(lambda x, y: [x.T @ y], bf16(4096, K), bf16(4096, N))[f"Matmul {K}x{N}"]
    assert (found.launches, found.flops) == (2, 2 * 4096 * K * N)
    assert found.bytes == BF16 * (4096 * (K + N) + K * N) + 2 * FLOAT32 * 2 * K * N
    (node,) = [one for one in trace(lambda x, y: [x @ y], bf16(4096, K), bf16(K, N)).nodes if one.name == "Matmul"]
    assert partitions(node) == 1


@pytest.mark.skipif(shutil.which("g++") is None, reason="MLX's CPU back end compiles with g++")
def test_a_step_of_the_shipped_recipe_is_fused_as_mx_compile_fuses_it(monkeypatch, tmp_path):
    """Without running it: mx.compile draws its graph before it computes. Names and numbers of all primitives agree."""
    shape = Shape(
        seq_len=128, depth=2, d_model=128, heads=1, device_batch_size=2, total_batch_size=512, window_pattern="SL"
    )  # fmt: skip
    monkeypatch.setattr(mlx_choose, "probe", lambda *arguments: None)
    monkeypatch.setattr(mx, "async_eval", lambda *arrays: None)
    with stand_ins():
        from services.trainer.recipes import gpt_mlx

        monkeypatch.setitem(gpt_mlx.OPS, "cross_entropy_full", plain_loss.cross_entropy_full)

        def recipe(compile):
            made = gpt_mlx.build(shape, 512, 0, open_engine("mlx", "cpu", dtype="bf16", compile=compile).handle)
            mx.eval(made.state())
            return made, lambda rows: [made.step(rows, 0.25), *arrays_of(made.state())]

        rows = mx.zeros((4, 129), dtype=mx.int32)
        mx.eval(rows)
        ours = fuse(trace(recipe("off")[1], rows))
        drawing = tmp_path / "graph.dot"
        mx.export_to_dot(str(drawing), recipe("on")[1](rows))
    theirs = Counter(map(exported_name, re.findall(r'label ="([^"]*)"', drawing.read_text())))
    found = Counter(exported_name(re.sub("RMSNormVJP|RMSNorm|RoPEVJP|RoPE", "Scan", node.name)) for node in ours.nodes)
    assert sum(found[name] for name in found if name.startswith("Compiled")) > 60
    assert found == theirs


def exported_name(label: str) -> str:
    label = CPU_NAMES.get(label, label.split()[0])
    return re.sub("Rsqrt", "Sqrt", re.sub("BitwiseAnd", "BitwiseBinary", label)) if "Compiled" in label else label


def test_the_layout_of_an_elementwise_result_is_that_of_its_input():
    graph = trace(lambda x: [mx.exp(x.swapaxes(0, 1)).reshape(-1)], bf16(M, N))
    layout = Layout(graph)
    assert [node.name for node, cost in zip(graph.nodes, layout.costs, strict=True) if cost.launches] == [
        "Exp",
        "Reshape",
    ]
