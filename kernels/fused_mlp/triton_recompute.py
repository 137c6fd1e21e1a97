"""Squared ReLU at the end of the first product; backward computes it again, so that no [N, F] tensor outlives forward.

As many passes over [N, F] as triton_saved and one product more (of six), for 2 N F bytes less memory a layer.
"""

import torch

from kernels.fused_mlp.product import activation, recomputed
from kernels.op_cost import OpCost, bytes_of, op_cost


def fused_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    """As torch_reference.fused_mlp."""
    y = _forward(x.flatten(0, -2).contiguous(), up_FC.to(x.dtype).contiguous(), down_CF.to(x.dtype).contiguous())
    return y.view(x.shape)


@torch.library.custom_op("autoresearch::fused_mlp_recompute", mutates_args=())
def _forward(x: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    return activation(x, up) @ down.T


@_forward.register_fake
def _(x, up, down):
    return torch.empty_like(x)


@torch.library.custom_op("autoresearch::fused_mlp_recompute_backward", mutates_args=())
def _backward(
    dy: torch.Tensor, x: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dy = dy.contiguous()
    act, dh = recomputed(x, up, dy, down)
    return dh @ up, dh.T @ x, dy.T @ act


@_backward.register_fake
def _(dy, x, up, down):
    return torch.empty_like(x), torch.empty_like(up), torch.empty_like(down)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _gradients(ctx, dy):
    return _backward(dy, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::fused_mlp_recompute")
def _forward_cost(x, up, down):
    hidden = len(x) * len(up) * x.element_size()
    return OpCost(bytes=2 * hidden + bytes_of([x, x, up, down]), flops=4 * x.numel() * len(up), launches=2)


@op_cost("autoresearch::fused_mlp_recompute_backward")
def _backward_cost(dy, x, up, down):
    """Both hidden tensors are written once; dh is read by two products, act by one."""
    hidden = 5 * len(x) * len(up) * x.element_size()
    tokens = bytes_of([dy, dy, x, x, x])
    weights = bytes_of([up, up, up, down, down])
    return OpCost(bytes=hidden + weights + tokens, flops=10 * x.numel() * len(up), launches=4)
