"""Attention on a device that is not here: one opaque op a pass, as FlashAttention is, that knows what it costs.

For estimates only. It computes shapes and no numbers. Bytes: q, k, v, y and their gradients once, and one float32 a
query and head for the softmax. FLOPs: the pairs of query and key that see each other, forward two products, backward
five (FlashAttention 2, arXiv 2307.08691: the scores are computed again).
"""

import torch

from kernels.op_cost import OpCost, bytes_of, op_cost


def load(device: torch.device):
    return torch.ops.autoresearch.absent_attention


@torch.library.custom_op("autoresearch::absent_attention", mutates_args=())
def absent_attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
    raise RuntimeError("this attention only stands in for a GPU that is not here; it computes nothing")


@torch.library.custom_op("autoresearch::absent_attention_backward", mutates_args=())
def absent_attention_backward(
    q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, y_BTHD: torch.Tensor, dy_BTHD: torch.Tensor,
    window: int,
) -> list[torch.Tensor]:  # fmt: skip
    raise RuntimeError("this attention only stands in for a GPU that is not here; it computes nothing")


@absent_attention.register_fake
def _(q_BTHD, k_BTGD, v_BTGD, window):
    return q_BTHD.new_empty(q_BTHD.shape)


@absent_attention_backward.register_fake
def _(q_BTHD, k_BTGD, v_BTGD, y_BTHD, dy_BTHD, window):
    return [x.new_empty(x.shape) for x in (q_BTHD, k_BTGD, v_BTGD)]


def _remember(ctx, inputs, output):
    *qkv, ctx.window = inputs
    ctx.save_for_backward(*qkv, output)


def _backward(ctx, dy_BTHD):
    return *torch.ops.autoresearch.absent_attention_backward(*ctx.saved_tensors, dy_BTHD, ctx.window), None


absent_attention.register_autograd(_backward, setup_context=_remember)


def visible_pairs(length: int, window: int) -> int:
    """Query i sees keys max(0, i - window) .. i."""
    seen = min(window + 1, length)
    return seen * (seen + 1) // 2 + (length - seen) * seen


def _product_flops(q_BTHD: torch.Tensor, window: int) -> int:
    """Of one product of all heads."""
    B, T, H, D = q_BTHD.shape
    return 2 * B * H * D * visible_pairs(T, window)


def _softmax_bytes(q_BTHD: torch.Tensor) -> int:
    return 4 * q_BTHD.shape[0] * q_BTHD.shape[1] * q_BTHD.shape[2]


@op_cost("autoresearch::absent_attention")
def _forward_cost(q_BTHD, k_BTGD, v_BTGD, window):
    moved = bytes_of((q_BTHD, k_BTGD, v_BTGD, q_BTHD)) + _softmax_bytes(q_BTHD)
    return OpCost(bytes=moved, flops=2 * _product_flops(q_BTHD, window))


@op_cost("autoresearch::absent_attention_backward")
def _backward_cost(q_BTHD, k_BTGD, v_BTGD, y_BTHD, dy_BTHD, window):
    """Three kernels: the row sums of y dy, the gradients, dq from float32 to its own type."""
    moved = bytes_of(2 * (q_BTHD, k_BTGD, v_BTGD) + (y_BTHD, dy_BTHD)) + _softmax_bytes(q_BTHD)
    return OpCost(bytes=moved, flops=5 * _product_flops(q_BTHD, window), launches=3)
