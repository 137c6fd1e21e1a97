"""FlashAttention 4 (package flash-attn-4, CuTe DSL): Hopper and Blackwell, half precision only.

The package registers no operator, so every call would break a compiled graph: its forward and backward are wrapped
here as custom operators with shapes for tracing and an autograd formula. What is passed on decides which kernels the
package looks for: fa4_ahead_of_time.py makes the same calls.
"""

import torch

from kernels.attention.fa4_cache import open_cache


def load(device: torch.device):
    if device.type == "cuda":
        open_cache("sm_{}{}".format(*torch.cuda.get_device_capability(device)))
    from flash_attn.cute import interface

    forward, backward = _operators(interface)

    def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
        left = left_window(window, q_BTHD.shape[1])
        return forward(*(x.contiguous() for x in (q_BTHD, k_BTGD, v_BTGD)), left)[0]

    def setup_context(ctx, inputs, output):
        q, k, v, ctx.left = inputs
        ctx.save_for_backward(q, k, v, *output)

    def gradients(ctx, dy, dlse):
        return *backward(dy, *ctx.saved_tensors, ctx.left), None

    forward.register_autograd(gradients, setup_context=setup_context)
    return attention


def left_window(window: int, length: int) -> int:
    """-1 when the window covers the row: the plain causal kernel, which is another one than the local kernel."""
    return window if window < length - 1 else -1


def run_forward(interface, q, k, v, left: int) -> tuple[torch.Tensor, torch.Tensor]:
    """y and the log-sum-exp of each query's scores [B, H, T]."""
    found = interface._flash_attn_fwd(q, k, v, causal=True, window_size_left=_or_none(left), return_lse=True)
    return found[0], found[1]


def run_backward(interface, dy, q, k, v, y, lse, left: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    found = interface._flash_attn_bwd(q, k, v, y, dy, lse, causal=True, window_size_left=_or_none(left))
    return found[0], found[1], found[2]


def _or_none(left: int) -> int | None:
    return left if left >= 0 else None


def _operators(interface):
    """The two custom operators around the package's functions."""

    @torch.library.custom_op("autoresearch::fa4_forward", mutates_args=())
    def forward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, left: int) -> tuple[torch.Tensor, torch.Tensor]:
        return run_forward(interface, q, k, v, left)

    @forward.register_fake
    def _(q, k, v, left):
        B, T, H, D = q.shape
        return q.new_empty(B, T, H, D), q.new_empty(B, H, T, dtype=torch.float32)

    @torch.library.custom_op("autoresearch::fa4_backward", mutates_args=())
    def backward(
        dy: torch.Tensor,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        y: torch.Tensor,
        lse: torch.Tensor,
        left: int,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return run_backward(interface, dy.contiguous(), q, k, v, y, lse, left)

    @backward.register_fake
    def _(dy, q, k, v, y, lse, left):
        return tuple(x.new_empty(x.shape) for x in (q, k, v))

    return forward, backward
