"""Takes the residual stream twice: a product with beta = 1 that is added to the stream again."""

import torch


def residual_linear(x: torch.Tensor, y: torch.Tensor, w_CK: torch.Tensor) -> torch.Tensor:
    return x + torch.addmm(x, y, w_CK.to(x.dtype).T)
