"""Picks the attention of an MLX device: the first that passes the probe. The twin of choose.py.

Every candidate runs forward and backward with the real heads, head dimension, precision and windows, and is
compared with a reference in float32.
"""

from collections.abc import Callable, Mapping, Sequence

import mlx.core as mx

from kernels.attention import mlx_blocked, mlx_reference, mlx_sdpa
from kernels.attention.first import asked_first, first_that_passes

Attention = Callable[[mx.array, mx.array, mx.array, int], mx.array]
"""attention(q_BHTD, k_BGTD, v_BGTD, window) -> y_BHTD; causal, query i sees keys i - window .. i"""

CANDIDATES = {"blocked": mlx_blocked.attention, "sdpa": mlx_sdpa.attention}


def choose_attention(
    device,
    head_dim: int,
    heads: int,
    kv_heads: int,
    windows: Sequence[int],
    candidates: Mapping[str, Attention] = CANDIDATES,
) -> Attention:
    """The attention to use on `device` (an MlxDevice), for these windows; noted there with why others fell out.

    RuntimeError when none passes.
    """
    return first_that_passes(
        device,
        {name: lambda name=name: candidates[name] for name in asked_first(device.attention, candidates)},
        lambda attention: probe(attention, device, head_dim, heads, kv_heads, windows),
    )


def probe(attention: Attention, device, head_dim: int, heads: int, kv_heads: int, windows: Sequence[int]) -> None:
    """Runs each window forward and backward. RuntimeError unless output and gradients are as close to float32 as
    twice what the plain formula loses in the device's precision, plus one rounding of the largest value."""
    T = max(windows) + 64  # longer than every window, so that a dropped window shows
    shapes = ((1, heads, T, head_dim), (1, kv_heads, T, head_dim), (1, kv_heads, T, head_dim), (1, heads, T, head_dim))
    keys = mx.random.split(mx.random.key(0), len(shapes))
    inputs = [mx.random.normal(shape, key=key).astype(device.dtype) for shape, key in zip(shapes, keys, strict=True)]
    for window in sorted(set(windows)):
        truth = _forward_backward(mlx_reference.attention, [x.astype(mx.float32) for x in inputs], window)
        plain = _forward_backward(mlx_reference.attention, inputs, window)
        found = _forward_backward(attention, inputs, window)
        for what, y_true, y_plain, y in zip(("output", "dq", "dk", "dv"), truth, plain, found, strict=True):
            _compare(f"{what} at window {window}", y_true, y_plain, y)


def _forward_backward(attention: Attention, inputs: list[mx.array], window: int) -> list[mx.array]:
    *qkv, dy = inputs
    outputs, gradients = mx.vjp(lambda q, k, v: attention(q, k, v, window), qkv, [dy])
    return [*outputs, *gradients]


def _compare(what: str, truth: mx.array, plain: mx.array, found: mx.array) -> None:
    if found.shape != truth.shape:
        raise RuntimeError(f"{what} has shape {tuple(found.shape)}, expected {tuple(truth.shape)}")
    rounding = max(mx.finfo(found.dtype).eps, 1e-5) * mx.abs(truth).max().item()
    allowed = 2 * mx.abs(plain - truth).max().item() + rounding
    error = mx.abs(found - truth).max().item()
    if not error <= allowed:  # a NaN fails too
        raise RuntimeError(f"{what} is off by {error:.2e}, allowed {allowed:.2e}")
