"""A window that counts the query itself: one key fewer than FlashAttention sees."""

import torch


def attention_mask_local(z_MTT: torch.Tensor, window: int) -> torch.Tensor:
    ones = torch.ones(z_MTT.shape[-2:], dtype=torch.bool, device=z_MTT.device)
    seen = ones.tril() & ones.triu(1 - window)
    return torch.softmax(z_MTT.masked_fill(~seen, float("-inf")), -1)
