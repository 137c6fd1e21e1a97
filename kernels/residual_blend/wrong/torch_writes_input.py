"""Right in value, and x is scaled in place on the way: whoever reads x afterwards reads something else."""

import torch


def residual_blend(x: torch.Tensor, x0: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    y = a * x + b * x0
    with torch.no_grad():
        x.data.mul_(a)
    return y
