"""Soft limit on logits (Gemma 2, arXiv 2408.00118)."""

import torch


def logits_softcap(z: torch.Tensor, cap: float) -> torch.Tensor:
    """cap * tanh(z / cap), in float32; float64 stays what it is."""
    return cap * torch.tanh(z.to(torch.promote_types(z.dtype, torch.float32)) / cap)
