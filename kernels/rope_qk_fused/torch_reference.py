"""Rotary embedding, then RMSNorm, of queries and keys."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm
from kernels.rotary_embedding.torch_reference import rotary_embedding


def rope_qk_fused(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in their own dtype; K = D / 2."""
    return rmsnorm(rotary_embedding(q_BTHD, cos_TK, sin_TK)), rmsnorm(rotary_embedding(k_BTGD, cos_TK, sin_TK))
