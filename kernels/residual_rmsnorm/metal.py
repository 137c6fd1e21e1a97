"""Residual add and norm in one pass each way on an Apple GPU: 256 threads a row.

Its source was compiled as C++ and run by CPU threads, not on an Apple GPU yet: tests/kernels/test_metal.py does that.
"""

import mlx.core as mx

THREADS = 256

ROW = """
    uint row = threadgroup_position_in_grid.x;
    uint thread_in_row = thread_position_in_threadgroup.x;
    uint at = row * C;
    threadgroup float parts[32];
"""

SUM = """
    part = simd_sum(part);
    if (thread_index_in_simdgroup == 0) parts[simdgroup_index_in_threadgroup] = part;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float total{n} = 0;
    for (uint i = 0; i < THREADS / 32; i++) total{n} += parts[i];
    threadgroup_barrier(mem_flags::mem_threadgroup);
"""

_forward_kernel = mx.fast.metal_kernel(
    name="residual_rmsnorm",
    input_names=["x", "y"],
    output_names=["s", "n"],
    source=ROW
    + """
    float part = 0;
    for (uint c = thread_in_row; c < C; c += THREADS) {
        T narrow = T(float(x[at + c]) + float(y[at + c]));
        s[at + c] = narrow;
        part += float(narrow) * float(narrow);
    }
"""
    + SUM.replace("{n}", "0")
    + """
    float r = metal::precise::rsqrt(total0 / C + 1.1920929e-7f);
    for (uint c = thread_in_row; c < C; c += THREADS) {
        float wide = float(T(float(x[at + c]) + float(y[at + c])));
        n[at + c] = T(wide * r);
    }
""",
)

_backward_kernel = mx.fast.metal_kernel(
    name="residual_rmsnorm_backward",
    input_names=["ds", "dn", "s"],
    output_names=["dx"],
    source=ROW
    + """
    float part = 0;
    for (uint c = thread_in_row; c < C; c += THREADS) part += float(s[at + c]) * float(s[at + c]);
"""
    + SUM.replace("{n}", "0")
    + """
    float r = metal::precise::rsqrt(total0 / C + 1.1920929e-7f);
    part = 0;
    for (uint c = thread_in_row; c < C; c += THREADS) part += float(dn[at + c]) * float(s[at + c]) * r;
"""
    + SUM.replace("{n}", "1")
    + """
    for (uint c = thread_in_row; c < C; c += THREADS) {
        float normed = float(s[at + c]) * r;
        dx[at + c] = T(float(ds[at + c]) + r * (float(dn[at + c]) - normed * total1 / C));
    }
""",
)


def _run(kernel, inputs, num_outputs: int) -> list[mx.array]:
    x = inputs[0]
    C = x.shape[-1]
    return kernel(
        inputs=inputs,
        template=[("T", x.dtype), ("C", C), ("THREADS", THREADS)],
        grid=(x.size // C * THREADS, 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[x.shape] * num_outputs,
        output_dtypes=[x.dtype] * num_outputs,
    )


@mx.custom_function
def residual_rmsnorm(x: mx.array, y: mx.array) -> tuple[mx.array, mx.array]:
    """As mlx_reference.residual_rmsnorm."""
    s, n = _run(_forward_kernel, [x, y], 2)
    return s, n


@residual_rmsnorm.vjp
def _backward(primals, cotangents, outputs):
    (dx,) = _run(_backward_kernel, [*cotangents, outputs[0]], 1)
    return dx, dx
