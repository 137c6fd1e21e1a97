"""Picks the attention backend of a device: the first of its architecture's order that passes the probe.

An import proves nothing (FlashAttention 3 "loads" on sm_120 and dies at its first launch), so every candidate runs
forward and backward with the real heads, head dimension, precision and windows, and is compared with a reference
in float32. docs/attention.md.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module

import torch

from kernels.attention import torch_reference
from kernels.attention.first import asked_first, first_that_passes
from shared.machine.targets import target_for

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""attention(q_BTHD, k_BTGD, v_BTGD, window) -> y_BTHD; causal, query i sees keys i - window .. i"""

Loader = Callable[[torch.device], Attention]


def choose_attention(
    device,
    head_dim: int,
    heads: int,
    kv_heads: int,
    windows: Sequence[int],
    loaders: Mapping[str, Loader] | None = None,
) -> Attention:
    """The attention to use on `device` (a TorchDevice), for these windows; noted there with why others fell out.

    `loaders` replaces the backends to try, in order (tests). RuntimeError when none passes.
    """
    if device.absent:
        device.note("attention_backend", "absent", f"{device.arch} is not here: attention's cost is computed")
        return _load("absent", device.torch)
    if loaders is None:
        loaders = {name: partial(_load, name) for name in asked_first(device.attention, attention_order(device.arch))}
    candidates = {name: partial(load, device.torch) for name, load in loaders.items()}
    return first_that_passes(
        device, candidates, lambda attention: probe(attention, device, head_dim, heads, kv_heads, windows)
    )


def attention_order(arch: str) -> tuple[str, ...]:
    """Backends to try, by the targets table; an architecture no target names has sdpa."""
    try:
        return target_for(arch, hardware_key="").attention
    except ValueError:
        return ("sdpa",)


def _load(name: str, device: torch.device) -> Attention:
    return import_module(f"kernels.attention.{name}").load(device)


def probe(attention: Attention, device, head_dim: int, heads: int, kv_heads: int, windows: Sequence[int]) -> None:
    """Runs each window forward and backward. RuntimeError unless output and gradients are as close to float32 as
    twice what the plain formula loses in the device's precision, plus one rounding of the largest value."""
    generator = torch.Generator().manual_seed(0)
    for T, window in probed_rows(windows):
        shapes = [(1, T, count, head_dim) for count in (heads, kv_heads, kv_heads, heads)]
        inputs = [torch.randn(shape, generator=generator).to(device.torch, device.dtype) for shape in shapes]
        truth = _forward_backward(torch_reference.attention, [x.float() for x in inputs], window)
        plain = _forward_backward(torch_reference.attention, inputs, window)
        found = _forward_backward(attention, inputs, window)
        for what, y_true, y_plain, y in zip(("output", "dq", "dk", "dv"), truth, plain, found, strict=True):
            _compare(f"{what} at window {window}", y_true, y_plain, y)


def probed_rows(windows: Sequence[int]) -> list[tuple[int, int]]:
    """(length, window) of every pass: rows longer than each window, so that a dropped one shows, and long enough to
    hold four of the shortest, as evaluation's may; then the row an L layer trains on, which needs no window."""
    length = max(max(windows) + 64, min(4 * min(windows), 2048))
    return [*((length, window) for window in sorted(set(windows))), (max(windows), max(windows))]


def _forward_backward(attention: Attention, inputs: list[torch.Tensor], window: int) -> list[torch.Tensor]:
    q, k, v = (x.detach().clone().requires_grad_() for x in inputs[:3])
    y = attention(q, k, v, window)
    if y.shape != q.shape:
        raise RuntimeError(f"output has shape {tuple(y.shape)}, expected {tuple(q.shape)}")
    return [y.detach(), *torch.autograd.grad(y, (q, k, v), inputs[3])]


def _compare(what: str, truth: torch.Tensor, plain: torch.Tensor, found: torch.Tensor) -> None:
    rounding = max(torch.finfo(found.dtype).eps, 1e-5) * truth.abs().max().item()
    allowed = 2 * (plain - truth).abs().max().item() + rounding
    error = (found - truth).abs().max().item()
    if not error <= allowed:  # a NaN fails too
        raise RuntimeError(f"{what} is off by {error:.2e}, allowed {allowed:.2e}")
