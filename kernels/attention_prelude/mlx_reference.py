"""Projections, rotary embedding and QK-norm."""

import mlx.core as mx

from kernels.rope_qk_fused.mlx_reference import rope_qk_fused


def attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK) -> tuple[mx.array, mx.array, mx.array]:
    """q [B, T, H, D], k and v [B, T, G, D] in x's dtype."""
    q, k, v = (_project(x_BTC, w) for w in (wq_HDC, wk_GDC, wv_GDC))
    return *rope_qk_fused(q, k, cos_TK, sin_TK), v


def _project(x_BTC, w_HDC):
    flat = w_HDC.astype(x_BTC.dtype).reshape(-1, w_HDC.shape[-1])
    return (x_BTC @ flat.T).reshape(*x_BTC.shape[:2], *w_HDC.shape[:2])
