"""The sum at the end of the product: what is added to the residual stream is never stored by itself.

The gradient of x is the incoming one and is not stored again; the two products of backward are PyTorch's.
"""

import torch

from kernels.op_cost import OpCost, bytes_of, op_cost
from kernels.residual_linear.product import sum_with_product


def residual_linear(x: torch.Tensor, y: torch.Tensor, w_CK: torch.Tensor) -> torch.Tensor:
    """As torch_reference.residual_linear."""
    rows = (each.flatten(0, -2).contiguous() for each in (x, y))
    return _forward(*rows, w_CK.to(x.dtype).contiguous()).view(x.shape)


@torch.library.custom_op("autoresearch::residual_linear", mutates_args=())
def _forward(x: torch.Tensor, y: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
    return sum_with_product(x, y, w)


@_forward.register_fake
def _(x, y, w):
    return torch.empty_like(x)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs[1:])


def _gradients(ctx, ds):
    y, w = ctx.saved_tensors
    return ds, ds @ w, ds.T @ y


_forward.register_autograd(_gradients, setup_context=_setup)


@op_cost("autoresearch::residual_linear")
def _cost(x, y, w):
    return OpCost(bytes=bytes_of([x, x, y, w]), flops=2 * y.numel() * len(w))
