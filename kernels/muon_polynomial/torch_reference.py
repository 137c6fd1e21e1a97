"""One step of Polar Express (arXiv 2505.16932), an odd polynomial of every singular value."""

from collections.abc import Callable

import torch


def _gram(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


def muon_polynomial(x: torch.Tensor, a: float, b: float, c: float, gram: Callable = _gram) -> torch.Tensor:
    """a x + (b A + c A^2) x with A = x x^T, of each matrix [R, C] of a batch, in x's dtype."""
    A = gram(x)
    B = torch.baddbmm(A, A, A, beta=b, alpha=c)  # scaled and added by the product's own kernel
    return torch.baddbmm(x, B, x, beta=a)
