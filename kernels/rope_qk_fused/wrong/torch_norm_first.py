"""Norm, then rotation: the same with true rotations, another function of tables that are none."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm
from kernels.rotary_embedding.torch_reference import rotary_embedding


def rope_qk_fused(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    return rotary_embedding(rmsnorm(q_BTHD), cos_TK, sin_TK), rotary_embedding(rmsnorm(k_BTGD), cos_TK, sin_TK)
