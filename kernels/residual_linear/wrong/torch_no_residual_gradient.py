"""Right forward; the gradient of the residual stream is lost."""

import torch
import torch.nn.functional as F


def residual_linear(x: torch.Tensor, y: torch.Tensor, w_CK: torch.Tensor) -> torch.Tensor:
    return x.detach() + 0 * x + F.linear(y, w_CK.to(x.dtype))
