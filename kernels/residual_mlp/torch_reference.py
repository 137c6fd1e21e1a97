"""RMSNorm, MLP with squared ReLU, and the residual stream that its result is added to."""

import torch

from kernels.fused_mlp.torch_reference import fused_mlp
from kernels.rmsnorm.torch_reference import rmsnorm


def residual_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    """x + fused_mlp(rmsnorm(x)), any leading axes; in x's dtype, to which the weights are rounded first."""
    return x + fused_mlp(rmsnorm(x), up_FC, down_CF)
