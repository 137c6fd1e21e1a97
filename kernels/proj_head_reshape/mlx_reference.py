"""A projection, stored with heads before tokens."""

import mlx.core as mx


def proj_head_reshape(x_BTC: mx.array, w_HDC: mx.array) -> mx.array:
    """[B, H, T, D], contiguous."""
    B, T, C = x_BTC.shape
    y_BTHD = (x_BTC @ w_HDC.reshape(-1, C).T).reshape(B, T, *w_HDC.shape[:2])
    return mx.contiguous(y_BTHD.transpose(0, 2, 1, 3))
