"""E[x^2] - E[x]^2 in one pass over x: right while the mean is near 0, lost beside a large one."""

import torch


def layernorm(x, weight, bias):
    z = x.float()
    mean = z.mean(-1, keepdim=True)
    variance = z.square().mean(-1, keepdim=True) - mean.square()
    return ((z - mean) * torch.rsqrt(variance + 1e-5) * weight.float() + bias.float()).to(x.dtype)
