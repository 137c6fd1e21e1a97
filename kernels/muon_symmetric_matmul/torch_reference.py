"""`polar_express`, which orthogonalizes Muon's update by the Polar Express polynomial. The op muon_symmetric_matmul is
named after its inner step, products of a matrix with its own transpose.

Muon: Jordan et al. 2024. Coefficients: Amsel et al., "The Polar Express", arXiv 2505.16932, five steps, with a
safety factor of 1.02 on the norm.
"""

from collections.abc import Callable

import torch

from kernels.muon_symmetric_matmul.coefficients import POLAR_EXPRESS


def symmetric_matmul(x: torch.Tensor) -> torch.Tensor:
    """x x^T of each matrix in a batch: symmetric, so half of it would do."""
    return x @ x.mT


def polar_express(g_NRC: torch.Tensor, steps: int, product: Callable = symmetric_matmul) -> torch.Tensor:
    """Nearly the orthogonal factor U V^T of each matrix: x <- a x + (b A + c A^2) x with A = x x^T, `steps` times."""
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:steps]:
        A = product(x)
        B = torch.baddbmm(A, A, A, beta=b, alpha=c)  # scaled and added by the product's own kernel
        x = torch.baddbmm(x, B, x, beta=a)
    return x if wide else x.mT
