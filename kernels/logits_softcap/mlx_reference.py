"""Soft limit on logits (Gemma 2, arXiv 2408.00118)."""

import mlx.core as mx


def logits_softcap(z: mx.array, cap: float) -> mx.array:
    """cap * tanh(z / cap), in float32."""
    return cap * mx.tanh(z.astype(mx.float32) / cap)
