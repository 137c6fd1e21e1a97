"""The MLP of a block: product, squared ReLU, product."""

import torch
import torch.nn.functional as F

from kernels.activation_pointwise.torch_reference import relu_squared


def fused_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    """Any leading axes; in x's dtype, in which the weights are rounded first."""
    return F.linear(relu_squared(F.linear(x, up_FC.to(x.dtype))), down_CF.to(x.dtype))
