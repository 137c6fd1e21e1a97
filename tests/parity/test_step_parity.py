"""From the same weights and rows both recipes compute the same logits, gradients and optimizer step, in float32.

Measured on a CPU over all presets: logits 9e-5 (of values up to 15), gradients 8e-6, moments 7e-5 and weights 3e-5 of
the largest value of their array. The limits leave a factor of three or more for other processors.
"""

import numpy as np
import pytest

from services.trainer.recipes import gpt_mlx, gpt_torch
from shared.experiment.presets import PRESETS
from tests.parity import twins
from tests.parity.twins import VOCAB_SIZE, largest_difference, make_rows, make_twins, small, take_every_path

LOGITS_ATOL = 3e-4
GRADIENT_TOLERANCE = 3e-5
OPTIMIZER_TOLERANCE = 3e-4
WEIGHT_TOLERANCE = 1e-4
LATE = 0.6  # progress at which learning rate and weight decay are both in their decline


@pytest.fixture(autouse=True)
def every_path(monkeypatch):
    take_every_path(monkeypatch)


@pytest.fixture(params=PRESETS)
def preset(request):
    return request.param


def test_logits_are_equal_also_beyond_the_training_length(preset):
    torch_twin, mlx_twin = make_twins(small(preset))
    tokens = np.random.default_rng(1).integers(0, VOCAB_SIZE, (2, 3 * twins.SEQ_LEN), dtype=np.uint16)
    expected = torch_twin.logits(tokens)
    assert np.abs(expected).max() > 0.8 * gpt_torch.SOFTCAP, "values at which the softcap matters"
    np.testing.assert_allclose(mlx_twin.logits(tokens), expected, rtol=0, atol=LOGITS_ATOL)


def test_the_gradient_of_every_tensor_is_equal(preset):
    torch_twin, mlx_twin = make_twins(small(preset))
    rows = make_rows(torch_twin.recipe.shape)
    expected = torch_twin.gradients(rows)
    assert all(gradient.any() for gradient in expected.values())
    difference, where = largest_difference(expected, mlx_twin.gradients(rows))
    assert difference < GRADIENT_TOLERANCE, where


def test_one_step_leaves_equal_weights_and_moments(preset):
    torch_twin, mlx_twin = make_twins(small(preset))
    before, rows = torch_twin.state()["model"], make_rows(torch_twin.recipe.shape)
    loss = torch_twin.step(rows, LATE)
    assert mlx_twin.step(rows, LATE) == pytest.approx(loss, rel=1e-6)
    expected, found = torch_twin.state(), mlx_twin.state()
    difference, where = largest_difference(expected["optimizer"], found["optimizer"])
    assert difference < OPTIMIZER_TOLERANCE, where
    for name, weight in expected["model"].items():
        check_weight(name, before[name], weight, found["model"][name])


def check_weight(name: str, before: np.ndarray, expected: np.ndarray, found: np.ndarray) -> None:
    """Equal, but for matrix entries whose update is so near zero that its sign, hence cautious decay, is rounding."""
    apart = np.abs(found - expected) > WEIGHT_TOLERANCE * np.abs(expected).max()
    assert apart.mean() < (1e-3 if name.startswith("blocks.") else 0) or not apart.any(), name
    lr = gpt_torch.MATRIX_LR * gpt_torch.lr_multiplier(LATE) * max(1, before.shape[0] / before[0].size) ** 0.5
    decay = lr * gpt_torch.WEIGHT_DECAY * (1 - LATE) * np.abs(before)
    assert (np.abs(found - expected) <= WEIGHT_TOLERANCE * np.abs(expected).max() + 1.01 * decay)[apart].all(), name


@pytest.mark.parametrize("queries_per_kv", [1, 2])
@pytest.mark.parametrize("compile", ["off", "on"])
def test_losses_stay_together_over_steps(monkeypatch, compile, queries_per_kv):
    for module in (gpt_torch, gpt_mlx):
        monkeypatch.setattr(module, "QUERIES_PER_KV", queries_per_kv)
    torch_twin, mlx_twin = make_twins(small("m5-small"), compile=compile)
    for step in range(10):
        rows = make_rows(torch_twin.recipe.shape, step)
        assert mlx_twin.step(rows, step / 10) == pytest.approx(torch_twin.step(rows, step / 10), rel=1e-4)


def test_bf16_strays_no_further_from_float32_than_torch_does():
    tokens = np.random.default_rng(1).integers(0, VOCAB_SIZE, (4, twins.SEQ_LEN), dtype=np.uint16)
    exact = make_twins(small("m5-balanced"))[0].logits(tokens)
    torch_error, mlx_error = (
        np.abs(twin.logits(tokens) - exact).mean() for twin in make_twins(small("m5-balanced"), dtype="bf16")
    )
    assert 1e-3 < mlx_error < 1.5 * torch_error, "zero would mean that bf16 was not used"


def test_both_recipes_have_the_same_hyper_parameters():
    def numbers(module):
        found = {name: value for name, value in vars(module).items() if isinstance(value, int | float | tuple)}
        found.pop("ROTARY_LENGTH", None)  # of torch's tables; MLX computes angles as it goes
        return found

    assert numbers(gpt_mlx) == numbers(gpt_torch)
    assert len(numbers(gpt_mlx)) > 15


def test_both_recipes_count_the_same(preset):
    recipes = [twin.recipe for twin in make_twins(small(preset))]
    assert recipes[0].flops_per_token() == recipes[1].flops_per_token()
    assert recipes[0].telemetry() == recipes[1].telemetry()
