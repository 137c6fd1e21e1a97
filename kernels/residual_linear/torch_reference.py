"""A projection added to the residual stream."""

import torch
import torch.nn.functional as F


def residual_linear(x: torch.Tensor, y: torch.Tensor, w_CK: torch.Tensor) -> torch.Tensor:
    """x + y w^T, any leading axes; in x's dtype, to which the weight is rounded first."""
    return x + F.linear(y, w_CK.to(x.dtype))
