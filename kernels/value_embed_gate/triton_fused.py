"""Gate and sum in one pass each way; the gradient of v is the incoming one and is not stored again."""

import torch
import triton
import triton.language as tl

ELEMENTS = 2048
"""of a program: some heads at once"""


@triton.jit
def _forward_kernel(v_ptr, ve_ptr, gate_ptr, y_ptr, N, D, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)
    at = rows[:, None] * D + d[None, :]
    seen = (rows[:, None] < N) & (d[None, :] < D)
    gate = 2.0 * tl.sigmoid(tl.load(gate_ptr + rows, mask=rows < N, other=0.0).to(tl.float32))
    v = tl.load(v_ptr + at, mask=seen, other=0.0).to(tl.float32)
    ve = tl.load(ve_ptr + at, mask=seen, other=0.0).to(tl.float32)
    tl.store(y_ptr + at, (v + gate[:, None] * ve).to(y_ptr.dtype.element_ty), mask=seen)


@triton.jit
def _backward_kernel(dy_ptr, ve_ptr, gate_ptr, dve_ptr, dgate_ptr, N, D, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    d = tl.arange(0, BLOCK)
    at = rows[:, None] * D + d[None, :]
    seen = (rows[:, None] < N) & (d[None, :] < D)
    h = tl.sigmoid(tl.load(gate_ptr + rows, mask=rows < N, other=0.0).to(tl.float32))
    dy = tl.load(dy_ptr + at, mask=seen, other=0.0).to(tl.float32)
    ve = tl.load(ve_ptr + at, mask=seen, other=0.0).to(tl.float32)
    tl.store(dve_ptr + at, (2.0 * h[:, None] * dy).to(dve_ptr.dtype.element_ty), mask=seen)
    dgate = 2.0 * h * (1.0 - h) * tl.sum(dy * ve, 1)
    tl.store(dgate_ptr + rows, dgate.to(dgate_ptr.dtype.element_ty), mask=rows < N)


def value_embed_gate(v_BTGD: torch.Tensor, ve_BTGD: torch.Tensor, gate_BTG: torch.Tensor) -> torch.Tensor:
    """As torch_reference.value_embed_gate."""
    return _forward(v_BTGD.contiguous(), ve_BTGD.contiguous(), gate_BTG.contiguous())


def _launch(kernel, x: torch.Tensor, *tensors: torch.Tensor) -> None:
    D = x.shape[-1]
    block = triton.next_power_of_2(D)
    rows, N = max(1, ELEMENTS // block), x.numel() // D
    kernel[(triton.cdiv(N, rows),)](x, *tensors, N, D, ROWS=rows, BLOCK=block, num_warps=4)


@torch.library.custom_op("autoresearch::value_embed_gate", mutates_args=())
def _forward(v: torch.Tensor, ve: torch.Tensor, gate: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(v)
    _launch(_forward_kernel, v, ve, gate, y)
    return y


@_forward.register_fake
def _(v, ve, gate):
    return torch.empty_like(v)


@torch.library.custom_op("autoresearch::value_embed_gate_backward", mutates_args=())
def _backward(dy: torch.Tensor, ve: torch.Tensor, gate: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dve, dgate = torch.empty_like(ve), torch.empty_like(gate)
    _launch(_backward_kernel, dy.contiguous(), ve, gate, dve, dgate)
    return dve, dgate


@_backward.register_fake
def _(dy, ve, gate):
    return torch.empty_like(ve), torch.empty_like(gate)


def _setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs[1:])


def _gradients(ctx, dy):
    return dy, *_backward(dy, *ctx.saved_tensors)


_forward.register_autograd(_gradients, setup_context=_setup)
