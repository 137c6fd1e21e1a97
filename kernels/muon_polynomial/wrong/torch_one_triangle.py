"""Takes only the lower triangle of b A + c A^2."""

import torch


def muon_polynomial(x: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    A = x @ x.mT
    return torch.baddbmm(x, torch.baddbmm(A, A, A, beta=b, alpha=c).tril(), x, beta=a)
