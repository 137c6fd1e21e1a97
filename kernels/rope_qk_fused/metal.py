"""Rotary embedding and norm of queries and keys on an Apple GPU: 32 threads a head, one pass each way.

Its source was compiled as C++ and run by CPU threads, not on an Apple GPU yet: tests/kernels/test_metal.py does that.
"""

import mlx.core as mx

HEAD = """
    uint head = threadgroup_position_in_grid.x;
    uint at = head * 2 * K;
    uint angle = (head / H % LENGTH) * K;
"""

_forward_kernel = mx.fast.metal_kernel(
    name="rope_qk_fused",
    input_names=["x", "cosines", "sines"],
    output_names=["n"],
    source=HEAD
    + """
    float part = 0;
    for (uint k = thread_index_in_simdgroup; k < K; k += 32) {
        float a = x[at + k], b = x[at + K + k], c = cosines[angle + k], s = sines[angle + k];
        float ra = a * c + b * s, rb = b * c - a * s;
        part += ra * ra + rb * rb;
    }
    float r = metal::precise::rsqrt(simd_sum(part) / (2 * K) + 1.1920929e-7f);
    for (uint k = thread_index_in_simdgroup; k < K; k += 32) {
        float a = x[at + k], b = x[at + K + k], c = cosines[angle + k], s = sines[angle + k];
        n[at + k] = T((a * c + b * s) * r);
        n[at + K + k] = T((b * c - a * s) * r);
    }
""",
)

_backward_kernel = mx.fast.metal_kernel(
    name="rope_qk_fused_backward",
    input_names=["dn", "x", "cosines", "sines"],
    output_names=["dx"],
    source=HEAD
    + """
    float squares = 0, products = 0;
    for (uint k = thread_index_in_simdgroup; k < K; k += 32) {
        float a = x[at + k], b = x[at + K + k], c = cosines[angle + k], s = sines[angle + k];
        float ra = a * c + b * s, rb = b * c - a * s;
        squares += ra * ra + rb * rb;
        products += float(dn[at + k]) * ra + float(dn[at + K + k]) * rb;
    }
    float r = metal::precise::rsqrt(simd_sum(squares) / (2 * K) + 1.1920929e-7f);
    float mean = simd_sum(products) * r * r / (2 * K);
    for (uint k = thread_index_in_simdgroup; k < K; k += 32) {
        float a = x[at + k], b = x[at + K + k], c = cosines[angle + k], s = sines[angle + k];
        float da = r * (float(dn[at + k]) - (a * c + b * s) * mean);
        float db = r * (float(dn[at + K + k]) - (b * c - a * s) * mean);
        dx[at + k] = T(da * c - db * s);
        dx[at + K + k] = T(da * s + db * c);
    }
""",
)


def rope_qk_fused(q_BTHD: mx.array, k_BTGD: mx.array, cos_TK: mx.array, sin_TK: mx.array) -> tuple[mx.array, mx.array]:
    """As mlx_reference.rope_qk_fused; the tables get no gradient."""
    return _rotated(q_BTHD, cos_TK, sin_TK), _rotated(k_BTGD, cos_TK, sin_TK)


@mx.custom_function
def _rotated(x, cosines, sines):
    return _run(_forward_kernel, [x, cosines, sines], x)


@_rotated.vjp
def _backward(primals, cotangent, output):
    x, cosines, sines = primals
    return _run(_backward_kernel, [cotangent, *primals], x), mx.zeros_like(cosines), mx.zeros_like(sines)


def _run(kernel, inputs, x) -> mx.array:
    _, T, H, D = x.shape
    return kernel(
        inputs=inputs,
        template=[("T", x.dtype), ("LENGTH", T), ("H", H), ("K", D // 2)],
        grid=(x.size // D * 32, 1, 1),
        threadgroup=(32, 1, 1),
        output_shapes=[x.shape],
        output_dtypes=[x.dtype],
    )[0]
