"""Norm, MLP and residual sum in two kernels; backward reads the activation that forward wrote.

Of the [N, C] tensors forward reads the stream twice and writes it once, where fused_mlp and the norms and sums around
it take four passes more. Backward's last product ends in the norm's gradient and the stream's.
"""

import torch

from kernels.op_cost import OpCost, bytes_of, op_cost
from kernels.residual_linear.product import sum_with_product
from kernels.residual_mlp.product import activation, num_parts, slope, stream


def residual_mlp(x: torch.Tensor, up_FC: torch.Tensor, down_CF: torch.Tensor) -> torch.Tensor:
    """As torch_reference.residual_mlp."""
    s, _, _ = _forward(x.flatten(0, -2).contiguous(), up_FC.to(x.dtype).contiguous(), down_CF.to(x.dtype).contiguous())
    return s.view(x.shape)


@torch.library.custom_op("autoresearch::residual_mlp", mutates_args=())
def _forward(x: torch.Tensor, up: torch.Tensor, down: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The stream, the activation and the factor of each token's norm."""
    act, r = activation(x, up)
    return sum_with_product(x, act, down), act, r


@_forward.register_fake
def _(x, up, down):
    return torch.empty_like(x), x.new_empty(len(x), len(up)), x.new_empty(len(x), dtype=torch.float32)


@torch.library.custom_op("autoresearch::residual_mlp_backward", mutates_args=())
def _backward(
    ds: torch.Tensor, x: torch.Tensor, up: torch.Tensor, down: torch.Tensor, act: torch.Tensor, r: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ds = ds.contiguous()
    dh, parts = slope(ds, down, act, r)
    return stream(ds, dh, up, x, r, parts), dh.T @ x, ds.T @ act


@_backward.register_fake
def _(ds, x, up, down, act, r):
    return torch.empty_like(x), torch.empty_like(up), torch.empty_like(down)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs, *output[1:])


def _gradients(ctx, ds, *_):
    return _backward(ds, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::residual_mlp")
def _forward_cost(x, up, down):
    """The stream is read by both products and written once; the activation is written and read."""
    hidden = 2 * len(x) * len(up) * x.element_size()
    moved = hidden + bytes_of([x, x, x, up, down]) + 4 * len(x)
    return OpCost(bytes=moved, flops=4 * x.numel() * len(up), launches=2)


@op_cost("autoresearch::residual_mlp_backward")
def _backward_cost(ds, x, up, down, act, r):
    """Slope: ds, act, writes dh. Weights: dh and x, ds and act. Stream: dh, ds, x, writes dx."""
    hidden, weights = 5 * bytes_of([act]), 2 * bytes_of([up, down])
    tokens = bytes_of([ds, ds, ds, x, x, x, r, r]) + 2 * 4 * len(x) * num_parts(len(up))
    return OpCost(bytes=hidden + weights + tokens, flops=8 * x.numel() * len(up), launches=4)
