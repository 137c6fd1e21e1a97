"""Normalizes x before it is blended."""

import torch

from kernels.residual_blend.torch_reference import residual_blend
from kernels.rmsnorm.torch_reference import rmsnorm


def blend_rmsnorm(
    x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return residual_blend(x, x0, a, b), rmsnorm(x)
