"""How the FlashAttention packages are called, with stand-ins that compute the reference: no GPU, no package."""

import sys
from types import ModuleType

import pytest
import torch

from kernels.attention import fa2, fa4, torch_reference
from kernels.attention.choose import probe
from shared.engines import open_engine

CPU = torch.device("cpu")


def reference(q, k, v, left):
    return torch_reference.attention(q, k, v, q.shape[1] if left in (None, -1) else left).contiguous()


def reference_gradients(dy, q, k, v, left):
    """By hand: autograd does not record inside a custom operator."""
    T, G, D = k.shape[1:]
    k_all, v_all = (x.repeat_interleave(q.shape[2] // G, 2) for x in (k, v))
    mask = torch_reference.window_mask(T, T if left is None else left, q.device)
    p = (torch.einsum("bihd,bjhd->bhij", q, k_all) * D**-0.5).masked_fill(~mask, float("-inf")).softmax(-1)
    dp = torch.einsum("bihd,bjhd->bhij", dy, v_all)
    ds = p * (dp - (dp * p).sum(-1, keepdim=True)) * D**-0.5
    dq = torch.einsum("bhij,bjhd->bihd", ds, k_all)
    dk, dv = (torch.einsum("bhij,bihd->bjhd", weight, x) for weight, x in ((ds, q), (p, dy)))
    return dq.contiguous(), *(x.unflatten(2, (G, -1)).sum(3) for x in (dk, dv))


@pytest.fixture
def flash_attn_2(monkeypatch):
    calls = []

    def flash_attn_func(q, k, v, causal, window_size):
        calls.append(window_size)
        return reference(q, k, v, window_size[0])

    package = ModuleType("flash_attn")
    package.flash_attn_func = flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    return calls


@pytest.fixture
def flash_attn_4(monkeypatch):
    def forward(q, k, v, causal, window_size_left, return_lse):
        return reference(q, k, v, window_size_left), q.new_zeros(q.shape[0], q.shape[2], q.shape[1]).float(), None

    def backward(q, k, v, y, dy, lse, causal, window_size_left):
        return reference_gradients(dy, q, k, v, window_size_left)

    names = ("flash_attn", "flash_attn.cute", "flash_attn.cute.interface")
    package, cute, interface = modules = [ModuleType(name) for name in names]
    package.cute, cute.interface = cute, interface
    interface._flash_attn_fwd, interface._flash_attn_bwd = forward, backward
    for name, module in zip(names, modules, strict=True):
        monkeypatch.setitem(sys.modules, name, module)


def test_fa2_takes_the_plain_causal_kernel_when_the_window_covers_the_row(flash_attn_2):
    q, k, v = (torch.randn(1, 10, 2, 8) for _ in range(3))
    attend = fa2.load(CPU)
    for window in (4, 8, 9, 100):
        torch.testing.assert_close(attend(q, k, v, window), torch_reference.attention(q, k, v, window))
    assert flash_attn_2 == [(4, 0), (8, 0), (-1, -1), (-1, -1)]


def test_fa4_passes_the_probe_with_a_right_kernel(flash_attn_4):
    probe(fa4.load(CPU), open_engine("torch", "cpu", dtype="bf16").handle, 16, 4, 2, (24, 48))


def test_fa4_does_not_break_a_compiled_graph(flash_attn_4):
    attend = fa4.load(CPU)

    @torch.compile(fullgraph=True, dynamic=False, backend="aot_eager")
    def two_layers(q, k, v):
        return attend(attend(q, k, v, 3), k, v, 100).square().sum()

    inputs = [torch.randn(2, 12, 2, 8, requires_grad=True) for _ in range(3)]
    found = torch.autograd.grad(two_layers(*inputs), inputs)
    q, k, v = inputs
    y = torch_reference.attention(torch_reference.attention(q, k, v, 3), k, v, 100).square().sum()
    torch.testing.assert_close(found, torch.autograd.grad(y, inputs))


def test_fa4_operators_are_registered_soundly(flash_attn_4):
    fa4.load(CPU)
    q, k, v = (torch.randn(1, 6, 2, 8, requires_grad=True) for _ in range(3))
    for left in (2, -1):
        torch.library.opcheck(torch.ops.autoresearch.fa4_forward.default, (q, k, v, left))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", [fa2, fa4])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_the_real_package_passes_the_probe(backend, head_dim):
    pytest.importorskip("flash_attn")
    probe(backend.load(torch.device("cuda:0")), open_engine("torch", "cuda:0").handle, head_dim, 4, 4, (128, 1000))
