"""Rows of an embedding table, viewed as heads."""

import torch
import torch.nn.functional as F


def ve_lookup_reshape(table_VE: torch.Tensor, tokens_N: torch.Tensor, head_dim: int) -> torch.Tensor:
    """[N, G, D] with D = head_dim and G = E / D."""
    return F.embedding(tokens_N, table_VE).view(*tokens_N.shape, -1, head_dim)
