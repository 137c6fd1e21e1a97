"""One norm for all heads of a token."""

import torch
import torch.nn.functional as F


def qk_rmsnorm(q_NHD: torch.Tensor, k_NGD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return F.rms_norm(q_NHD, q_NHD.shape[1:]), F.rms_norm(k_NGD, k_NGD.shape[1:])
