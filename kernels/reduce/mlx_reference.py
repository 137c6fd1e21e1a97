"""Sums of rows."""

import mlx.core as mx


def row_sum(x_NC: mx.array) -> mx.array:
    """[N] float32, added up in float32 whatever x's dtype is."""
    return x_NC.astype(mx.float32).sum(-1)
