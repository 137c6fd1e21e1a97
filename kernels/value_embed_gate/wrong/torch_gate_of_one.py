"""Without the factor of two a gate of 0 adds half of the embedding."""

import torch


def value_embed_gate(v_BTGD: torch.Tensor, ve_BTGD: torch.Tensor, gate_BTG: torch.Tensor) -> torch.Tensor:
    return v_BTGD + torch.sigmoid(gate_BTG)[..., None] * ve_BTGD
