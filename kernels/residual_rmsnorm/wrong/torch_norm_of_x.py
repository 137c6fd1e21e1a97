"""Normalizes x before y was added."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm


def residual_rmsnorm(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x + y, rmsnorm(x) + 0 * y
