"""The chunked loss errs no more than the plain one: value, both gradients, any number of rows, saturated logits."""

import pytest
import torch
import torch.nn.functional as F

from kernels.cross_entropy_full import torch_chunked, torch_reference


def in_double(x, w, targets, cap):
    return F.cross_entropy(cap * torch.tanh(x @ w.T / cap), targets)


def value_and_gradients(loss, x, w, targets):
    x, w = x.clone().requires_grad_(), w.clone().requires_grad_()
    value = loss(x, w, targets, 15.0)
    return value.detach(), *torch.autograd.grad(2 * value, (x, w))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 7, 64, 200])
@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_it_errs_no_more_than_the_plain_loss(rows, size, dtype, monkeypatch):
    monkeypatch.setitem(torch_chunked.CHUNK_ELEMENTS, "cpu", 64 * 50)
    monkeypatch.setitem(torch_chunked.PIECE_ELEMENTS, "cpu", 16 * 50)
    generator = torch.Generator().manual_seed(rows)
    x, w = torch.randn(rows, 24, generator=generator), size * torch.randn(50, 24, generator=generator)
    targets = torch.randint(50, (rows,), generator=generator)
    truth = value_and_gradients(in_double, x.double(), w.double(), targets)
    plain = value_and_gradients(torch_reference.cross_entropy_full, x.to(dtype), w, targets)
    found = value_and_gradients(torch_chunked.cross_entropy_full, x.to(dtype), w, targets)
    for y_true, y_plain, y in zip(truth, plain, found, strict=True):
        assert y.dtype == y_plain.dtype
        rounding = max(torch.finfo(dtype).eps, 1e-6) * y_true.abs().max()
        assert (y - y_true).abs().max() <= 2 * (y_plain - y_true).abs().max() + rounding
