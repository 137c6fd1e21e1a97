"""The same loss a few rows at a time: float32 logits live only in pieces, and gradients are made in the forward pass.

Liger's idea (arXiv 2410.10989): the loss is a scalar, so its gradient is known up to a factor as soon as a chunk's
logits are. MLX is lazy: where no gradient is asked for, none is computed.
"""

import mlx.core as mx

CHUNK_ELEMENTS = 2**23
"""logits at a time: 32 MiB in float32, 1024 rows of 8192, enough for a fast product"""


def cross_entropy_full(x_NC: mx.array, w_VC: mx.array, targets_N: mx.array, cap: float) -> mx.array:
    """As mlx_reference.cross_entropy_full; the weight's gradient accumulates over chunks in w's own dtype."""
    loss, _, _ = _with_gradients(x_NC, w_VC, targets_N, mx.array(cap))
    return loss


def loss_and_gradients(x_NC, w_VC, targets_N, cap):
    """The loss and its gradients by x and w."""
    N, V = len(x_NC), len(w_VC)
    rows = max(1, CHUNK_ELEMENTS // V)
    w = w_VC.astype(x_NC.dtype)
    nats, dw_VC, dx = mx.zeros(()), mx.zeros_like(w_VC), []
    for start in range(0, N, rows):
        x, targets = x_NC[start : start + rows], targets_N[start : start + rows, None]
        if dx:  # one chunk after the other: left free, MLX may hold the logits of all of them
            (x,) = mx.depends([x], [nats, dx[-1], dw_VC])
        part, dz = _chunk(x @ w.T, targets, cap)
        nats = nats + part
        dz = (dz / N).astype(x.dtype)
        dx.append(dz @ w)
        dw_VC = dw_VC + (dz.T @ x).astype(w_VC.dtype)
    return nats / N, mx.concatenate(dx), dw_VC


_with_gradients = mx.custom_function(loss_and_gradients)


@_with_gradients.vjp
def _backward(primals, cotangents, outputs):
    dloss, (_, dx_NC, dw_VC) = cotangents[0], outputs
    return dx_NC * dloss.astype(dx_NC.dtype), dw_VC * dloss, mx.zeros_like(primals[2]), mx.zeros_like(primals[3])


def _chunk(z, targets, cap):
    """Summed nats of a chunk and their gradient by its logits z: (softmax(s) - onehot) (1 - tanh^2)."""
    u = mx.tanh(z.astype(mx.float32) / cap)
    s = cap * u
    lse = mx.logsumexp(s, axis=-1, keepdims=True)
    nats = (lse - mx.take_along_axis(s, targets, axis=-1)).sum()
    onehot = targets == mx.arange(z.shape[-1])
    return nats, (mx.exp(s - lse) - onehot) * (1 - u * u)
