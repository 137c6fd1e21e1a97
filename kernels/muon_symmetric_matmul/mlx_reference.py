"""`polar_express`, which orthogonalizes Muon's update by the Polar Express polynomial. The op muon_symmetric_matmul is
named after its inner step, products of a matrix with its own transpose.

Muon: Jordan et al. 2024. Coefficients: Amsel et al., "The Polar Express", arXiv 2505.16932, five steps, with a
safety factor of 1.02 on the norm.
"""

import mlx.core as mx

from kernels.muon_symmetric_matmul.coefficients import POLAR_EXPRESS


def symmetric_matmul(x: mx.array) -> mx.array:
    """x x^T of each matrix in a batch: symmetric, so half of it would do."""
    return x @ x.swapaxes(-2, -1)


def polar_express(g_NRC: mx.array, steps: int) -> mx.array:
    """Nearly the orthogonal factor U V^T of each matrix: x <- a x + (b A + c A^2) x with A = x x^T, `steps` times.

    The norm is taken in float32: in bf16 its sum loses small entries, and a norm too small makes the iteration
    diverge. Each step is three products whose sums are part of the product (addmm).
    """
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.swapaxes(-2, -1)
    x32 = x.astype(mx.float32)
    x = (x32 / (mx.sqrt(x32.square().sum((-2, -1), keepdims=True)) * 1.02 + 1e-6)).astype(x.dtype)
    for a, b, c in POLAR_EXPRESS[:steps]:
        A = x @ x.swapaxes(-2, -1)
        x = mx.addmm(x, mx.addmm(A, A, A, alpha=c, beta=b), x, beta=a)
    return x if wide else x.swapaxes(-2, -1)
