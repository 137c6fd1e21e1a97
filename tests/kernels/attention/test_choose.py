"""The probe believes no backend: what is wrong, broken or missing is rejected with its reason."""

from functools import partial
from importlib.util import find_spec

import pytest
import torch

from kernels.attention import sdpa, torch_reference
from kernels.attention.choose import attention_order, choose_attention, probe
from shared.engines import ATTENTION_BACKENDS, open_engine

HEADS = {"head_dim": 16, "heads": 4, "kv_heads": 2}
WINDOWS = (24, 48)


def device(dtype="fp32"):
    return open_engine("torch", "cpu", dtype=dtype).handle


def choose(loaders, on=None):
    on = on or device()
    choose_attention(on, **HEADS, windows=WINDOWS, loaders=loaders)
    return next(choice for choice in on.choices if choice.what == "attention_backend")


def drops_the_window(q, k, v, window):
    return torch_reference.attention(q, k, v, q.shape[1])


def off_by_one(q, k, v, window):
    return torch_reference.attention(q, k, v, window - 1)


def forgets_to_be_causal(q, k, v, window):
    k, v = (x.repeat_interleave(q.shape[2] // x.shape[2], 2).transpose(1, 2) for x in (k, v))
    return torch.nn.functional.scaled_dot_product_attention(q.transpose(1, 2), k, v).transpose(1, 2)


def loses_a_gradient(q, k, v, window):
    return torch_reference.attention(q, k.detach() + 0 * k, v, window)


def gives_nan(q, k, v, window):
    return torch_reference.attention(q, k, v, window) * float("nan")


def gives_another_shape(q, k, v, window):
    return torch_reference.attention(q, k, v, window).flatten(2)


def dies_at_launch(q, k, v, window):
    raise RuntimeError("CUDA error: no kernel image is available")


def dies_in_backward(q, k, v, window):
    y = torch_reference.attention(q, k, v, window)
    y.register_hook(lambda gradient: dies_at_launch(q, k, v, window))
    return y


BROKEN = {
    drops_the_window: "output at window 24 is off by",
    off_by_one: "output at window 24 is off by",
    forgets_to_be_causal: "output at window 24 is off by",
    loses_a_gradient: "dk at window 24 is off by",
    gives_nan: "is off by nan",
    gives_another_shape: "has shape",
    dies_at_launch: "no kernel image",
    dies_in_backward: "no kernel image",
}


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_broken_backend_is_rejected_with_its_reason(broken, dtype):
    choice = choose({"broken": lambda _: broken, "sdpa": sdpa.load}, device(dtype))
    assert choice.chosen == "sdpa"
    assert "broken: " in choice.reason
    assert BROKEN[broken] in choice.reason


def test_a_package_that_is_not_there_is_rejected():
    def missing(_):
        raise ModuleNotFoundError("No module named 'flash_attn'")

    choice = choose({"fa2": missing, "sdpa": sdpa.load})
    assert choice.reason == "probe passed; fa2: ModuleNotFoundError: No module named 'flash_attn'"


def test_the_first_that_passes_is_used():
    assert choose({"good": lambda _: torch_reference.attention, "never": missing_loader}).chosen == "good"


def missing_loader(_):
    raise AssertionError("loaded although the first one passed")


def test_nothing_that_works_is_an_error_with_every_reason():
    with pytest.raises(RuntimeError, match=r"a: RuntimeError: output .*; b: RuntimeError: CUDA error"):
        choose({"a": lambda _: drops_the_window, "b": lambda _: dies_at_launch})


def test_orders_follow_the_targets_table():
    assert attention_order("sm_121") == attention_order("sm_90") == ("fa4", "flex", "sdpa")
    assert attention_order("sm_86") == attention_order("sm_80") == ("fa2", "flex", "sdpa")
    assert attention_order("cpu") == attention_order("mps") == attention_order("sm_70") == ("sdpa",)


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 1)])
def test_sdpa_passes_the_probe(dtype, heads, kv_heads):
    probe(sdpa.load(torch.device("cpu")), device(dtype), 32, heads, kv_heads, (8, 100))


def test_a_window_that_covers_the_row_changes_nothing():
    q, k, v = (torch.randn(2, 40, 2, 8) for _ in range(3))
    attend = sdpa.load(torch.device("cpu"))
    torch.testing.assert_close(attend(q, k, v, 39), attend(q, k, v, 4000))
    assert not torch.allclose(attend(q, k, v, 38), attend(q, k, v, 39))


@pytest.mark.parametrize(("length", "window"), [(32, 8), (40, 8), (41, 8), (6, 1), (5, 0)])
def test_rows_of_many_windows_are_cut_into_blocks_without_a_difference(length, window):
    inputs = [torch.randn(3, length, heads, 8, requires_grad=True) for heads in (4, 2, 2)]
    y, y_true = (attend(*inputs, window) for attend in (sdpa.load(torch.device("cpu")), torch_reference.attention))
    weights = torch.randn_like(y)
    torch.testing.assert_close(y, y_true)
    found, truth = (torch.autograd.grad(z, inputs, weights) for z in (y, y_true))
    torch.testing.assert_close(found, truth)


@pytest.mark.slow
def test_flex_sees_the_same_keys():
    q, k, v = torch.randn(1, 160, 4, 16), torch.randn(1, 160, 2, 16), torch.randn(1, 160, 2, 16)
    from kernels.attention import flex

    attend = flex.load(torch.device("cpu"))  # forward only: it has no backward on a CPU
    for window in (40, 200):
        torch.testing.assert_close(attend(q, k, v, window), torch_reference.attention(q, k, v, window))


@pytest.mark.gpu
def test_the_first_backend_of_this_gpu_works_in_a_compiled_graph():
    on = open_engine("torch", "cuda:0").handle
    attend = choose_attention(on, 128, 4, 4, (512, 1024))
    print(on.choices)
    compiled = torch.compile(partial(attend, window=512), fullgraph=True, dynamic=False)
    q, k, v = (torch.randn(2, 1024, 4, 128, device=on.torch, dtype=on.dtype, requires_grad=True) for _ in range(3))
    compiled(q, k, v).sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_the_backend_somebody_asks_for_is_tried_first_and_must_still_pass_its_probe():
    on = open_engine("torch", "cpu", dtype="fp32", attention="flex").handle
    choose_attention(on, **HEADS, windows=WINDOWS)
    chosen = next(choice for choice in on.choices if choice.what == "attention_backend")
    assert chosen.chosen in ("flex", "sdpa")
    assert "flex" in chosen.chosen + chosen.reason


def test_every_backend_a_job_may_name_has_a_file_here():
    for name in ATTENTION_BACKENDS["torch"]:
        assert find_spec(f"kernels.attention.{name}")
        mlx_choose = pytest.importorskip("kernels.attention.mlx_choose")
    assert set(ATTENTION_BACKENDS["mlx"]) == set(mlx_choose.CANDIDATES)


def test_an_unknown_backend_is_refused_before_the_framework_is_opened():
    with pytest.raises(ValueError, match="choose auto, fa4, fa2, flex, sdpa"):
        open_engine("torch", "cpu", attention="fa3")
