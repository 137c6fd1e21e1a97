"""Value embeddings mixed into attention values (ResFormer, arXiv 2410.17897), one gate per token and head."""

import mlx.core as mx


def value_embed_gate(v_BTGD: mx.array, ve_BTGD: mx.array, gate_BTG: mx.array) -> mx.array:
    """v + 2 sigmoid(gate) ve: a gate of 0 adds the embedding as it is."""
    return v_BTGD + (2 * mx.sigmoid(gate_BTG))[..., None] * ve_BTGD
