"""Mean softcapped cross-entropy from hidden states and head weight, written out: stores all float32 logits."""

import mlx.core as mx

from kernels.logits_softcap.mlx_reference import logits_softcap


def cross_entropy_full(x_NC: mx.array, w_VC: mx.array, targets_N: mx.array, cap: float) -> mx.array:
    """mean over n of logsumexp(s_n) - s_n[target_n], s = cap tanh(x w^T / cap); products in x's dtype."""
    s_NV = logits_softcap(x_NC @ w_VC.astype(x_NC.dtype).T, cap)
    s_target_N = mx.take_along_axis(s_NV, targets_N[:, None], axis=-1)[:, 0]
    return (mx.logsumexp(s_NV, axis=-1) - s_target_N).mean()
