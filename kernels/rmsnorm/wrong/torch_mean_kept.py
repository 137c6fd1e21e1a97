"""Takes the mean off first, as LayerNorm does."""

import torch
import torch.nn.functional as F


def rmsnorm(x: torch.Tensor) -> torch.Tensor:
    return F.rms_norm(x - x.mean(-1, keepdim=True), (x.shape[-1],))
