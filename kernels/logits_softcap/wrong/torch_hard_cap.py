"""A hard limit instead of a soft one."""

import torch


def logits_softcap(z: torch.Tensor, cap: float) -> torch.Tensor:
    return z.float().clamp(-cap, cap)
