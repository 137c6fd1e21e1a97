"""Normalizes the values too."""

import torch

from kernels.attention_prelude import torch_reference
from kernels.rmsnorm.torch_reference import rmsnorm


def attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    q, k, v = torch_reference.attention_prelude(x_BTC, wq_HDC, wk_GDC, wv_GDC, cos_TK, sin_TK)
    return q, k, rmsnorm(v)
