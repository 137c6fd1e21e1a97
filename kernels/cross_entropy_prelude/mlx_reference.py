"""Log-sum-exp of softcapped logits."""

import mlx.core as mx

from kernels.logits_softcap.mlx_reference import logits_softcap


def cross_entropy_prelude(z_NV: mx.array, cap: float) -> mx.array:
    """[N] float32."""
    return mx.logsumexp(logits_softcap(z_NV, cap), axis=-1)
