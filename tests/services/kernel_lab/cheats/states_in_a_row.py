"""Takes what the latest forward laid aside and was not yet asked for: wrong as soon as a forward has no backward."""

import torch

aside = []


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        z = x.float()
        r = torch.rsqrt(z.square().mean(-1, keepdim=True) + 2.0**-23)
        aside.append((z, r))
        return (z * r).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        (z, r), d = aside.pop(), dy.float()
        n = z * r
        return (r * (d - n * (d * n).mean(-1, keepdim=True))).to(dy.dtype)


def rmsnorm(x):
    return Norm.apply(x)
