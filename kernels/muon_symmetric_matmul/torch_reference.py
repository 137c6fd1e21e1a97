"""`polar_express`, which orthogonalizes Muon's update by the Polar Express polynomial. The op muon_symmetric_matmul is
named after its inner step, products of a matrix with its own transpose.

Muon: Jordan et al. 2024. Coefficients: Amsel et al., "The Polar Express", arXiv 2505.16932, five steps, with a
safety factor of 1.02 on the norm.
"""

from collections.abc import Callable

import torch

from kernels.muon_polynomial.torch_reference import muon_polynomial
from kernels.muon_symmetric_matmul.coefficients import POLAR_EXPRESS


def symmetric_matmul(x: torch.Tensor) -> torch.Tensor:
    """x x^T of each matrix in a batch: symmetric, so half of it would do."""
    return x @ x.mT


def polar_express(g_NRC: torch.Tensor, steps: int, polynomial: Callable = muon_polynomial) -> torch.Tensor:
    """Nearly the orthogonal factor U V^T of each matrix: x <- a x + (b A + c A^2) x with A = x x^T, `steps` times."""
    wide = g_NRC.shape[-2] <= g_NRC.shape[-1]
    x = g_NRC if wide else g_NRC.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.02 + 1e-6)
    for a, b, c in POLAR_EXPRESS[:steps]:
        x = polynomial(x, a, b, c)
    return x if wide else x.mT
