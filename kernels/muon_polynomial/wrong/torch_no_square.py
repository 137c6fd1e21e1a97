"""Leaves the square of A out."""

import torch


def muon_polynomial(x: torch.Tensor, a: float, b: float, c: float) -> torch.Tensor:
    return torch.baddbmm(x, x @ x.mT, x, beta=a, alpha=b)
