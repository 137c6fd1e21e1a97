"""The torch recipe against formulas, its protocol, and the parameter counts of the presets."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.engines import open_engine
from shared.experiment.presets import PRESETS
from tests.handed_over import save
from tests.services.trainer.recipes.slow_gpt import SlowTrainer

VOCAB_SIZE = 61
TINY = {"seq_len": 24, "depth": 3, "d_model": 32, "heads": 2, "window_pattern": "SL"}


def shape_of(**changes) -> Shape:
    size = TINY | {"device_batch_size": 2} | changes
    passes = size.pop("passes", 1)
    return Shape(**size, total_batch_size=size["device_batch_size"] * size["seq_len"] * passes)


def build(shape: Shape, seed: int = 0, dtype: str = "fp32"):
    return gpt_torch.build(shape, VOCAB_SIZE, seed, open_engine("torch", "cpu", dtype=dtype, compile="off").handle)


def rows_of(shape: Shape, step: int = 0) -> torch.Tensor:
    """Rows with something to learn: tokens follow each other with a little noise."""
    draw = np.random.default_rng(step)
    walk = draw.integers(0, 3, (shape.rows_per_step, shape.seq_len + 1)).cumsum(axis=1)
    return torch.from_numpy(walk % VOCAB_SIZE)


def make_nothing_zero(recipe) -> None:
    """Weights that start at zero hide whatever they multiply. They also make the scalars' first gradient exactly zero
    but for rounding, which Adam turns into a full step: two correct implementations part there."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in recipe.model.parameters():
            if not p.any():
                p.copy_(0.1 * torch.randn(p.shape, generator=generator))


@pytest.mark.parametrize("queries_per_kv", [1, 2])
@pytest.mark.parametrize(
    "changes",
    [{}, {"passes": 3}, {"window_pattern": "SSL", "depth": 4, "d_model": 64}],
    ids=["one pass", "three passes", "two short windows"],
)
def test_losses_follow_the_formulas_step_by_step(changes, queries_per_kv, monkeypatch):
    monkeypatch.setattr(gpt_torch, "QUERIES_PER_KV", queries_per_kv)
    shape = shape_of(**changes)
    recipe = build(shape)
    make_nothing_zero(recipe)
    slow = SlowTrainer(shape, recipe.state()["model"])
    for step in range(20):
        progress = step / 20
        fast_loss = recipe.step(rows_of(shape, step), progress).item()
        # Adam's eps of 1e-10 turns a rounding of a tiny gradient into a step: processors differ by some 1e-4
        assert fast_loss == pytest.approx(slow.step(rows_of(shape, step), progress), abs=1e-3), f"step {step}"


def test_logits_follow_the_formulas_beyond_the_training_length():
    shape = shape_of()
    recipe = build(shape)
    make_nothing_zero(recipe)
    tokens = torch.arange(2 * 3 * shape.seq_len).reshape(2, -1) % VOCAB_SIZE
    expected = SlowTrainer(shape, recipe.state()["model"]).logits(tokens)
    torch.testing.assert_close(recipe.logits(tokens).double(), expected, atol=2e-5, rtol=0)


def test_a_seed_names_the_weights():
    shape = shape_of()
    first, again, other = (build(shape, seed).state()["model"] for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["embed.weight"], other["embed.weight"])


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build(shape_of())
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_saved_state_continues_bit_for_bit(dtype, tmp_path):
    shape, engine = shape_of(passes=2), open_engine("torch", "cpu")
    recipe = build(shape, dtype=dtype)
    for step in range(3):
        recipe.step(rows_of(shape, step), 0.3)
    for group, arrays in recipe.state().items():
        save(engine, tmp_path / f"{group}.safetensors", arrays)
    fresh = build(shape, seed=9, dtype=dtype)
    fresh.load({group: engine.load(tmp_path / f"{group}.safetensors") for group in ("model", "optimizer")})
    for step in range(3, 6):
        assert recipe.step(rows_of(shape, step), 0.7).item() == fresh.step(rows_of(shape, step), 0.7).item()
    assert recipe.telemetry() == fresh.telemetry()


def test_weights_alone_are_enough_for_logits():
    shape = shape_of()
    trained, fresh = build(shape), build(shape, seed=1)
    trained.step(rows_of(shape), 0.0)
    fresh.load({"model": trained.state()["model"]})
    tokens = rows_of(shape)[:, :-1]
    assert torch.equal(trained.logits(tokens), fresh.logits(tokens))


def test_a_state_of_another_model_is_refused():
    state = build(shape_of(depth=2)).state()
    with pytest.raises(ValueError, match=r"blocks\.2"):
        build(shape_of(depth=3)).load(state)


def test_state_tensors_are_contiguous_and_do_not_overlap():
    state = build(shape_of()).state()
    tensors = [tensor for arrays in state.values() for tensor in arrays.values()]
    assert all(tensor.is_contiguous() for tensor in tensors)
    places = sorted((tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes) for tensor in tensors)
    assert all(end <= start for (_, end), (start, _) in pairwise(places))


def test_a_loaded_matrix_is_what_the_optimizer_goes_on_with():
    """Matrices of a block are parts of the arrays that Muon updates."""
    recipe = build(shape_of())
    recipe.load({"model": build(shape_of(), seed=1).state()["model"]})
    for params, p_NRC, *_ in recipe.muon.groups.values():
        assert torch.equal(torch.stack([p.detach() for p in params]), p_NRC)
    before = recipe.model.blocks[0].mlp.up.weight.detach().clone()
    recipe.step(rows_of(shape_of()), 0.0)
    assert not torch.equal(recipe.model.blocks[0].mlp.up.weight, before)


def test_later_tokens_leave_earlier_logits_alone():
    recipe = build(shape_of())
    make_nothing_zero(recipe)
    tokens = rows_of(recipe.shape)[:, :-1]
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 7) % VOCAB_SIZE
    before, after = recipe.logits(tokens), recipe.logits(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12:], after[:, 12:])


def test_a_short_row_model_reads_evaluation_rows():
    recipe = build(shape_of(seq_len=256, d_model=16, heads=1))
    logits = recipe.logits(torch.arange(2048)[None] % VOCAB_SIZE)
    assert logits.shape == (1, 2048, VOCAB_SIZE)
    assert logits.dtype is torch.float32
    assert logits.isfinite().all()
    assert logits.abs().max() <= gpt_torch.SOFTCAP


def test_bf16_learns_as_fp32_does():
    shape = shape_of(passes=2)
    losses = {}
    for dtype in ("fp32", "bf16"):
        recipe = build(shape, dtype=dtype)
        losses[dtype] = [recipe.step(rows_of(shape, step), step / 20).item() for step in range(20)]
    assert np.isfinite(losses["bf16"]).all()
    assert losses["bf16"][-1] == pytest.approx(losses["fp32"][-1], rel=0.1)
    assert losses["bf16"][-1] < 0.7 * losses["bf16"][0]


def test_schedules_are_upstreams():
    assert [gpt_torch.lr_multiplier(progress) for progress in (0, 0.4, 0.75, 1)] == [1, 1, 0.5, 0]
    assert [gpt_torch.muon_momentum(step) for step in (0, 150, 300, 900)] == pytest.approx([0.85, 0.9, 0.95, 0.95])


@pytest.mark.parametrize(
    ("preset", "millions"),
    [("m5-tiny", 3.5), ("m5-small", 11.5), ("m5-balanced", 26.3), ("m5-large", 50.3), ("m5-xlarge", 50.3)],
)
def test_presets_have_the_promised_number_of_parameters(preset, millions):
    with torch.device("meta"):
        model = gpt_torch.GPT(PRESETS[preset].shape, 8192, torch.float32)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_flops_follow_upstreams_formula():
    recipe = gpt_torch.build(PRESETS["m5-tiny"].shape, 8192, 0, open_engine("torch", "cpu").handle)
    matrices = 2 * 12 * 128 * 128 + 32 + 8192 * 128  # two blocks, the last one's gate, the head
    assert recipe.flops_per_token() == 6 * matrices + 2 * 12 * 128 * 256


@pytest.mark.slow
def test_a_compiled_step_follows_the_eager_one():
    shape = shape_of(passes=2)
    compiled = gpt_torch.build(shape, VOCAB_SIZE, 0, open_engine("torch", "cpu", dtype="fp32", compile="on").handle)
    eager = build(shape)
    make_nothing_zero(compiled)
    make_nothing_zero(eager)
    for step in range(4):
        rows = rows_of(shape, step)
        assert compiled.step(rows, 0.6).item() == pytest.approx(eager.step(rows, 0.6).item(), abs=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("compile", ["on", "off"])
def test_a_cuda_step_follows_the_cpu_one(compile):
    shape = shape_of(passes=2, d_model=256, seq_len=64)
    device = open_engine("torch", "cuda:0", dtype="bf16", compile=compile)
    cuda, cpu = gpt_torch.build(shape, VOCAB_SIZE, 0, device.handle), build(shape, dtype="bf16")
    make_nothing_zero(cuda)
    make_nothing_zero(cpu)
    for step in range(4):
        rows = rows_of(shape, step)
        assert cuda.step(rows.to("cuda:0"), 0.6).item() == pytest.approx(cpu.step(rows, 0.6).item(), rel=0.02)
