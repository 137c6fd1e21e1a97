"""RMSNorm without weights (Zhang and Sennrich, arXiv 1910.07467), over the last dimension."""

import torch
import torch.nn.functional as F


def rmsnorm(x: torch.Tensor) -> torch.Tensor:
    """x / sqrt(mean(x^2) + eps), eps = machine epsilon of x's dtype."""
    return F.rms_norm(x, (x.shape[-1],))
