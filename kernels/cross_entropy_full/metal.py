"""The loss on an Apple GPU: one Metal kernel reads a row of logits and writes its loss and its gradient.

Chunks and products as in mlx_chunked; between them float32 logits exist only in registers.

Its source was compiled as C++ and run by CPU threads, not on an Apple GPU yet: tests/kernels/test_metal.py does that.
"""

import mlx.core as mx

CHUNK_ELEMENTS = 2**24
"""logits at a time: 32 MiB in bf16"""
THREADS = 512

_row_kernel = mx.fast.metal_kernel(
    name="softcapped_cross_entropy",
    input_names=["z", "targets", "scalars"],
    output_names=["nats", "dz"],
    source="""
    uint row = threadgroup_position_in_grid.x;
    uint first = thread_position_in_threadgroup.x;
    uint at = row * V;
    float cap = scalars[0], share = scalars[1];
    threadgroup float parts[32];
    // softcapped logits lie within cap of 0, so their largest possible value serves as the maximum
    float part = 0;
    for (uint v = first; v < V; v += THREADS) {
        float u = metal::precise::tanh(float(z[at + v]) / cap);
        part += metal::precise::exp(cap * u - cap);
    }
    part = simd_sum(part);
    if (thread_index_in_simdgroup == 0) parts[simdgroup_index_in_threadgroup] = part;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    float total = 0;
    for (uint i = 0; i < THREADS / 32; i++) total += parts[i];
    uint target = uint(targets[row]);
    for (uint v = first; v < V; v += THREADS) {
        float u = metal::precise::tanh(float(z[at + v]) / cap);
        float p = metal::precise::exp(cap * u - cap) / total;
        dz[at + v] = T((p - (v == target ? 1.0f : 0.0f)) * (1.0f - u * u) * share);
        if (v == target) nats[row] = metal::precise::log(total) + cap - cap * u;
    }
""",
)


def cross_entropy_full(x_NC: mx.array, w_VC: mx.array, targets_N: mx.array, cap: float) -> mx.array:
    """As mlx_reference.cross_entropy_full. exp(-2 cap) must be a normal float32: cap <= 40."""
    loss, _, _ = _with_gradients(x_NC, w_VC, targets_N, mx.array([cap, 1 / len(x_NC)]))
    return loss


@mx.custom_function
def _with_gradients(x_NC, w_VC, targets_N, scalars):
    """The loss and its gradients by x and w."""
    N, V = len(x_NC), len(w_VC)
    rows = max(1, CHUNK_ELEMENTS // V)
    w = w_VC.astype(x_NC.dtype)
    nats, dw_VC, dx = mx.zeros(()), mx.zeros_like(w_VC), []
    for start in range(0, N, rows):
        x, targets = x_NC[start : start + rows], targets_N[start : start + rows]
        if dx:  # one chunk after the other: left free, MLX may hold the logits of all of them
            (x,) = mx.depends([x], [nats, dx[-1], dw_VC])
        part, dz = _rows(x @ w.T, targets, scalars)
        nats = nats + part.sum()
        dx.append(dz @ w)
        dw_VC = dw_VC + (dz.T @ x).astype(w_VC.dtype)
    return nats / N, mx.concatenate(dx), dw_VC


@_with_gradients.vjp
def _backward(primals, cotangents, outputs):
    dloss, (_, dx_NC, dw_VC) = cotangents[0], outputs
    return dx_NC * dloss.astype(dx_NC.dtype), dw_VC * dloss, mx.zeros_like(primals[2]), mx.zeros_like(primals[3])


def _rows(z, targets, scalars) -> list[mx.array]:
    """Nats of each row, and 1 / N of their gradient by z."""
    return _row_kernel(
        inputs=[z, targets, scalars],
        template=[("T", z.dtype), ("V", z.shape[1]), ("THREADS", THREADS)],
        grid=(len(z) * THREADS, 1, 1),
        threadgroup=(THREADS, 1, 1),
        output_shapes=[(len(z),), z.shape],
        output_dtypes=[mx.float32, z.dtype],
    )
