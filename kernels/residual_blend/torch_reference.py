"""Residual stream blended with the embedding it started from, one learned scalar each."""

import torch


def residual_blend(x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a x + b x0; a and b are 0-d, so x keeps its dtype."""
    return a * x + b * x0
