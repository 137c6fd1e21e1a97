"""Orthogonalization of Muon's update: products of a matrix with its own transpose, in the Polar Express polynomial.

Muon: Jordan et al. 2024. Coefficients: Amsel et al., "The Polar Express", arXiv 2505.16932, five steps, with a
safety factor of 1.02 on the norm.
"""

import torch

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def symmetric_matmul(x: torch.Tensor) -> torch.Tensor:
    """x x^T of each matrix in a batch: symmetric, so half of it would do."""
    return x @ x.mT


def polar_express(g_NRC: torch.Tensor, steps: int) -> torch.Tensor:
    """Nearly the orthogonal factor U V^T of each matrix: x <- a x + (b A + c A^2) x with A = x x^T, `steps` times."""
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:steps]:
        A = symmetric_matmul(x)
        x = a * x + (b * A + c * symmetric_matmul(A)) @ x
    return x if wide else x.mT
