"""Rows of an embedding table, viewed as heads."""

import mlx.core as mx


def ve_lookup_reshape(table_VE: mx.array, tokens_N: mx.array, head_dim: int) -> mx.array:
    """[N, G, D] with D = head_dim and G = E / D."""
    return table_VE[tokens_N].reshape(*tokens_N.shape, -1, head_dim)
