"""Softmax of attention scores under a causal window, as FlashAttention counts it: itself and `window` keys before."""

import torch


def attention_mask_local(z_MTT: torch.Tensor, window: int) -> torch.Tensor:
    """[M, T, T] in z's dtype; zero where a query sees nothing."""
    ones = torch.ones(z_MTT.shape[-2:], dtype=torch.bool, device=z_MTT.device)
    seen = ones.tril() & ones.triu(-window)
    return torch.softmax(z_MTT.masked_fill(~seen, float("-inf")), -1)
