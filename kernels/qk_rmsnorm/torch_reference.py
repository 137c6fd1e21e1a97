"""RMSNorm of queries and keys, head by head."""

import torch

from kernels.rmsnorm.torch_reference import rmsnorm


def qk_rmsnorm(q_NHD: torch.Tensor, k_NGD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return rmsnorm(q_NHD), rmsnorm(k_NGD)
