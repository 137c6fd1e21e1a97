"""Turns the other way: attention would see the same distances, weights of another run would not fit."""

import torch


def rotary_embedding(x_BTHD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor) -> torch.Tensor:
    a, b = x_BTHD.chunk(2, dim=-1)
    cos, sin = cos_TK[:, None, :], sin_TK[:, None, :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)
