"""Every token of a row gets the first one's rotation."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm
from kernels.rotary_embedding.torch_reference import rotary_embedding


def rope_qk_fused(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, cos_TK: torch.Tensor, sin_TK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    cos, sin = (x[:1].expand_as(x) for x in (cos_TK, sin_TK))
    return rmsnorm(rotary_embedding(q_BTHD, cos, sin)), rmsnorm(rotary_embedding(k_BTGD, cos, sin))
