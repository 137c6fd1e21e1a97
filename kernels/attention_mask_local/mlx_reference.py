"""Softmax of attention scores under a causal window, as FlashAttention counts it: itself and `window` keys before."""

import mlx.core as mx


def attention_mask_local(z_MTT: mx.array, window: int) -> mx.array:
    """[M, T, T] in z's dtype; zero where a query sees nothing."""
    T = z_MTT.shape[-1]
    back = mx.arange(T)[:, None] - mx.arange(T)[None, :]
    seen = (back >= 0) & (back <= window)
    return mx.softmax(mx.where(seen, z_MTT, mx.array(float("-inf"), z_MTT.dtype)), axis=-1, precise=True)
