"""Value embeddings mixed into attention values (ResFormer, arXiv 2410.17897), one gate per token and head."""

import torch


def value_embed_gate(v_BTGD: torch.Tensor, ve_BTGD: torch.Tensor, gate_BTG: torch.Tensor) -> torch.Tensor:
    """v + 2 sigmoid(gate) ve: a gate of 0 adds the embedding as it is."""
    return v_BTGD + (2 * torch.sigmoid(gate_BTG))[..., None] * ve_BTGD
