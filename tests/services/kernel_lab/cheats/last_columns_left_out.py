"""Takes the mean over whole vectors of 8 columns, and forgets those that remain."""

import torch


def rmsnorm(x):
    whole = max(1, x.shape[-1] // 8 * 8)
    eps = torch.finfo(torch.float32).eps
    r = (x[:, :whole].float().square().mean(-1, keepdim=True) + eps).rsqrt()
    return (x.float() * r).to(x.dtype)
