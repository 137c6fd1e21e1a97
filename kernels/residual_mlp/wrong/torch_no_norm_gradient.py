"""Right forward; backward takes the norm's factor for a constant."""

import torch

from kernels.fused_mlp.torch_reference import fused_mlp


def residual_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    factor = (x.float().square().mean(-1, keepdim=True) + 2.0**-23).rsqrt().detach()
    return x + fused_mlp((x * factor).to(x.dtype), up_FC, down_CF)
