"""Hidden states to softcapped float32 logits."""

import mlx.core as mx

from kernels.logits_softcap.mlx_reference import logits_softcap


def loss_logits_cast_softcap(x_NC: mx.array, w_VC: mx.array, cap: float) -> mx.array:
    """[N, V] float32; the product runs in x's dtype."""
    return logits_softcap(x_NC @ w_VC.astype(x_NC.dtype).T, cap)
