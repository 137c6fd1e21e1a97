"""Rotary position embedding (Su et al., arXiv 2104.09864), halves rotated against each other, nothing learned."""

import mlx.core as mx


def rotary_embedding(x_BHTD: mx.array, base: float) -> mx.array:
    """(a, b) -> (a cos + b sin, b cos - a sin), a and b the halves of the last dimension, at t base^(-2i / D).

    mx.fast.rope turns the other way, hence the scale of -1 on its angles. Positions count from 0.
    """
    return mx.fast.rope(x_BHTD, x_BHTD.shape[-1], traditional=False, base=base, scale=-1.0, offset=0)


def rotate_by_tables(x_BTHD: mx.array, cos_TK: mx.array, sin_TK: mx.array) -> mx.array:
    """The same with the tables given, as PyTorch has it; K = D / 2."""
    a, b = mx.split(x_BTHD, 2, axis=-1)
    cos, sin = cos_TK[:, None, :], sin_TK[:, None, :]
    return mx.concatenate([a * cos + b * sin, b * cos - a * sin], axis=-1)
