"""Blends before y was added, so y escapes the factor a."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm


def block_prelude(
    x: torch.Tensor, y: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    s = a * x + b * x0 + y
    return s, rmsnorm(s)
