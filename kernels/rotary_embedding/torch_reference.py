"""Rotary position embedding (Su et al., arXiv 2104.09864), halves rotated against each other, nothing learned."""

import torch


def rotary_tables(
    length: int, head_dim: int, base: float, dtype: torch.dtype, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin of t * base^(-2i / head_dim), [T, head_dim / 2] each; angles are computed in float32."""
    frequency_K = base ** -(torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim)
    angle_TK = torch.outer(torch.arange(length, dtype=torch.float32, device=device), frequency_K)
    return angle_TK.cos().to(dtype), angle_TK.sin().to(dtype)


def rotary_embedding(x_BTHD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor) -> torch.Tensor:
    """(a, b) -> (a cos + b sin, b cos - a sin), a and b the halves of the last dimension; K = D / 2."""
    a, b = x_BTHD.chunk(2, dim=-1)
    cos, sin = cos_TK[:, None, :], sin_TK[:, None, :]
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)
