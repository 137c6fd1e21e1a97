"""A projection, stored with heads before tokens."""

import torch
import torch.nn.functional as F


def proj_head_reshape(x_BTC: torch.Tensor, w_HDC: torch.Tensor) -> torch.Tensor:
    """[B, H, T, D], contiguous."""
    B, T, C = x_BTC.shape
    y_BTHD = F.linear(x_BTC, w_HDC.reshape(-1, C)).view(B, T, *w_HDC.shape[:2])
    return y_BTHD.transpose(1, 2).contiguous()
