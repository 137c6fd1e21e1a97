"""Orthogonalization of Muon's update: products of a matrix with its own transpose, in the Polar Express polynomial.

Muon: Jordan et al. 2024. Coefficients: Amsel et al., "The Polar Express", arXiv 2505.16932, five steps, with a
safety factor of 1.02 on the norm.
"""

import mlx.core as mx

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


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
