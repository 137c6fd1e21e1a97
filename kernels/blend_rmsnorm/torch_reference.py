"""Blend with the embedding x0, RMSNorm."""

import torch

from kernels.residual_blend.torch_reference import residual_blend
from kernels.rmsnorm.torch_reference import rmsnorm


def blend_rmsnorm(
    x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(s, rmsnorm(s)) with s = a x + b x0; a and b are 0-d, so both keep x's dtype."""
    s = residual_blend(x, x0, a, b)
    return s, rmsnorm(s)
