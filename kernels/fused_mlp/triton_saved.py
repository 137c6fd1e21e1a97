"""Squared ReLU at the end of the first product; backward reads what it wrote.

Of the [N, F] tensors, forward writes one and reads one, backward reads two and three more products read one each: 7
passes where PyTorch's compiler makes 12. The product before the activation is never stored: the slope of max(h, 0)^2 is
twice the root of its value.
"""

import torch

from kernels.fused_mlp.product import activation, slope
from kernels.op_cost import OpCost, bytes_of, op_cost


def fused_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    """As torch_reference.fused_mlp."""
    y, _ = _forward(x.flatten(0, -2).contiguous(), up_FC.to(x.dtype).contiguous(), down_CF.to(x.dtype).contiguous())
    return y.view(x.shape)


@torch.library.custom_op("autoresearch::fused_mlp", mutates_args=())
def _forward(x: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    act = activation(x, up)
    return act @ down.T, act


@_forward.register_fake
def _(x, up, down):
    return torch.empty_like(x), x.new_empty(len(x), len(up))


@torch.library.custom_op("autoresearch::fused_mlp_backward", mutates_args=())
def _backward(
    dy: torch.Tensor, x: torch.Tensor, up: torch.Tensor, down: torch.Tensor, act: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    dy = dy.contiguous()
    dh = slope(dy, down, act)
    return dh @ up, dh.T @ x, dy.T @ act


@_backward.register_fake
def _(dy, x, up, down, act):
    return torch.empty_like(x), torch.empty_like(up), torch.empty_like(down)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs, output[1])


def _gradients(ctx, dy, _):
    return _backward(dy, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::fused_mlp")
def _forward_cost(x, up, down):
    hidden = len(x) * len(up) * x.element_size()
    return OpCost(bytes=2 * hidden + bytes_of([x, x, up, down]), flops=4 * x.numel() * len(up), launches=2)


@op_cost("autoresearch::fused_mlp_backward")
def _backward_cost(dy, x, up, down, act):
    """Slope: reads act, writes dh. Products: dh up, dh^T x, dy^T act."""
    hidden, weights = 5 * bytes_of([act]), 2 * bytes_of([up, down])
    tokens = bytes_of([dy, dy, x, x])
    return OpCost(bytes=hidden + weights + tokens, flops=8 * x.numel() * len(up), launches=4)
