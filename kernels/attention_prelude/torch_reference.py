"""Projections, rotary embedding and QK-norm."""

import torch
import torch.nn.functional as F

from kernels.rope_qk_fused.torch_reference import rope_qk_fused


def attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """q [B, T, H, D], k and v [B, T, G, D] in x's dtype."""
    q, k, v = (_project(x_BTC, w) for w in (wq_HDC, wk_GDC, wv_GDC))
    return *rope_qk_fused(q, k, cos_TK, sin_TK), v


def _project(x_BTC, w_HDC):
    return F.linear(x_BTC, w_HDC.to(x_BTC.dtype).flatten(0, 1)).unflatten(-1, w_HDC.shape[:2])
