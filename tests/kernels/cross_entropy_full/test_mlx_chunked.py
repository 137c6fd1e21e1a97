"""The chunked loss against the one that is written out: same value, same gradients, less memory."""

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from kernels.cross_entropy_full import mlx_chunked, mlx_reference  # noqa: E402

CAP = 15.0


def inputs(N: int, C: int, V: int, dtype=mx.float32, scale: float = 3.0):
    x, w, t = mx.random.split(mx.random.key(0), 3)
    x_NC = mx.random.normal((N, C), key=x).astype(dtype)
    return x_NC, scale * mx.random.normal((V, C), key=w), mx.random.randint(0, V, (N,), key=t)


def value_and_gradients(loss, x_NC, w_VC, targets_N):
    return mx.value_and_grad(lambda x, w: 1.7 * loss(x, w, targets_N, CAP), argnums=(0, 1))(x_NC, w_VC)


@pytest.mark.parametrize("rows_per_chunk", [1, 7, 50, 1000])
def test_loss_and_gradients_are_the_reference_whatever_the_chunk(monkeypatch, rows_per_chunk):
    monkeypatch.setattr(mlx_chunked, "CHUNK_ELEMENTS", rows_per_chunk * 31)
    given = inputs(50, 16, 31)
    expected, expected_gradients = value_and_gradients(mlx_reference.cross_entropy_full, *given)
    found, gradients = value_and_gradients(mlx_chunked.cross_entropy_full, *given)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for mine, theirs in zip(gradients, expected_gradients, strict=True):
        assert mx.abs(mine - theirs).max() < 1e-5 * mx.abs(theirs).max()


def test_bf16_is_as_close_to_float32_as_the_reference_is():
    x_NC, w_VC, targets_N = inputs(64, 32, 53)
    _, exact = value_and_gradients(mlx_reference.cross_entropy_full, x_NC, w_VC, targets_N)
    x_NC = x_NC.astype(mx.bfloat16)
    _, plain = value_and_gradients(mlx_reference.cross_entropy_full, x_NC, w_VC, targets_N)
    _, found = value_and_gradients(mlx_chunked.cross_entropy_full, x_NC, w_VC, targets_N)
    assert [gradient.dtype for gradient in found] == [mx.bfloat16, mx.float32]
    for mine, theirs, truth in zip(found, plain, exact, strict=True):
        assert mx.abs(mine - truth).mean() < 1.5 * mx.abs(theirs - truth).mean()


def test_extreme_logits_stay_finite():
    found, gradients = value_and_gradients(mlx_chunked.cross_entropy_full, *inputs(8, 16, 31, scale=1e4))
    assert mx.isfinite(found)
    assert all(mx.isfinite(gradient).all() for gradient in gradients)


def peak_bytes(loss, given, transform) -> int:
    run = transform(lambda *arrays: value_and_gradients(loss, *arrays))
    mx.eval(run(*given))
    mx.synchronize()
    mx.reset_peak_memory()
    mx.eval(run(*given))
    mx.synchronize()
    return mx.get_peak_memory() - mx.get_active_memory()


@pytest.mark.parametrize("transform", [lambda run: run, mx.compile], ids=["eager", "compiled"])
def test_float32_logits_are_never_held_whole(monkeypatch, transform):
    N, V, rows_per_chunk = 4096, 1024, 32
    monkeypatch.setattr(mlx_chunked, "CHUNK_ELEMENTS", rows_per_chunk * V)
    given, whole = inputs(N, 8, V), 4 * N * V
    mx.eval(given)
    assert peak_bytes(mlx_reference.cross_entropy_full, given, transform) > whole
    assert peak_bytes(mlx_chunked.cross_entropy_full, given, transform) < 0.25 * whole


def test_without_gradients_the_loss_is_the_same():
    x_NC, w_VC, targets_N = inputs(64, 16, 31)
    loss = mlx_chunked.cross_entropy_full(x_NC, w_VC, targets_N, CAP)
    expected = mlx_reference.cross_entropy_full(x_NC, w_VC, targets_N, CAP)
    assert np.isclose(loss.item(), expected.item())
