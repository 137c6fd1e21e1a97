"""Right forward; the gradient that comes in through the sum is lost."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm


def residual_rmsnorm(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    s = x + y
    return s.detach() + 0 * s, rmsnorm(s)
