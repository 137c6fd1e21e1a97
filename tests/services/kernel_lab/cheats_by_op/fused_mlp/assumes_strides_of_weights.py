"""Reads a weight as if its rows lay one after the other. One that is tied to another layer may be a transposed view."""

import torch
import torch.nn.functional as F


def laid(w: torch.Tensor) -> torch.Tensor:
    return w.as_strided(w.shape, (w.shape[1], 1))


def fused_mlp(x, up, down):
    up, down = laid(up), laid(down)
    return F.linear(F.relu(F.linear(x, up.to(x.dtype))).square(), down.to(x.dtype))
