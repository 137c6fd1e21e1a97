"""The formula in the dtype that came in: bf16 logits stay bf16."""

import torch


def logits_softcap(z: torch.Tensor, cap: float) -> torch.Tensor:
    return (cap * torch.tanh(z.double() / cap)).to(z.dtype if z.dtype != torch.float32 else torch.float64)
