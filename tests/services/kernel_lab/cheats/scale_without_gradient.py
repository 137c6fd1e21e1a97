"""Right forward; backward takes the root mean square for a constant."""

import torch


def rmsnorm(x):
    eps = torch.finfo(torch.float32).eps
    r = (x.detach().float().square().mean(-1, keepdim=True) + eps).rsqrt()
    return (x.float() * r).to(x.dtype)
