"""RMSNorm without weights (Zhang and Sennrich, arXiv 1910.07467), over the last dimension."""

import mlx.core as mx

EPS = 2.0**-23  # machine epsilon of float32, which PyTorch takes in bf16 too


def rmsnorm(x: mx.array) -> mx.array:
    """x / sqrt(mean(x^2) + EPS), computed in float32, returned in x's dtype."""
    return mx.fast.rms_norm(x, None, EPS)
