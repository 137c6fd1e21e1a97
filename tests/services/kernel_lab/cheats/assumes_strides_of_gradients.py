"""The same in backward alone: a gradient often arrives as a view."""

import torch


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.nn.functional.rms_norm(x, (x.shape[-1],))

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        dy = dy.as_strided(dy.shape, (dy.shape[-1], 1))
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return torch.autograd.grad(torch.nn.functional.rms_norm(x, (x.shape[-1],)), x, dy)[0]


def rmsnorm(x):
    return Norm.apply(x)
