"""The MLX recipe: against formulas, its protocol, its laziness and memory. Against torch: tests/parity."""

import time

import numpy as np
import pytest

mx = pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from services.trainer.recipes import gpt_mlx  # noqa: E402
from shared.contracts import Shape  # noqa: E402
from shared.engines import open_engine  # noqa: E402
from shared.experiment.presets import PRESETS  # noqa: E402
from tests.handed_over import save  # noqa: E402

VOCAB_SIZE = 61
TINY = {"seq_len": 24, "depth": 3, "d_model": 32, "heads": 2, "window_pattern": "SL"}


def shape_of(**changes) -> Shape:
    size = TINY | {"device_batch_size": 2} | changes
    passes = size.pop("passes", 1)
    return Shape(**size, total_batch_size=size["device_batch_size"] * size["seq_len"] * passes)


def build(shape: Shape, seed: int = 0, dtype: str = "fp32", compile: str = "off", vocab_size: int = VOCAB_SIZE):
    return gpt_mlx.build(shape, vocab_size, seed, open_engine("mlx", "cpu", dtype=dtype, compile=compile).handle)


def rows_of(shape: Shape, step: int = 0):
    """Rows with something to learn: tokens follow each other with a little noise."""
    walk = np.random.default_rng(step).integers(0, 3, (shape.rows_per_step, shape.seq_len + 1)).cumsum(axis=1)
    return mx.array(walk % VOCAB_SIZE, dtype=mx.int32)


def make_nothing_zero(recipe) -> None:
    """Weights that start at zero hide whatever they multiply, and make the scalars' first gradient zero but for
    rounding, which Adam turns into a full step: bf16 and float32 would part there."""
    weights = gpt_mlx.named(recipe.model.parameters())
    for number, (name, p) in enumerate(weights.items()):
        if not p.any():
            weights[name] = 0.1 * mx.random.normal(p.shape, key=mx.random.key(number))
    recipe.model.assign(weights)


def test_losses_follow_the_formulas_step_by_step():
    torch = pytest.importorskip("torch")
    from tests.services.trainer.recipes.slow_gpt import SlowTrainer

    shape = shape_of(passes=2)
    recipe = build(shape)
    make_nothing_zero(recipe)
    slow = SlowTrainer(shape, {name: torch.tensor(np.array(w)) for name, w in recipe.state()["model"].items()})
    for step in range(10):
        rows, progress = rows_of(shape, step), step / 10
        expected = slow.step(torch.tensor(np.array(rows), dtype=torch.int64), progress)
        assert recipe.step(rows, progress).item() == pytest.approx(expected, abs=1e-4), f"step {step}"


def test_a_seed_names_the_weights():
    first, again, other = (build(shape_of(), seed).state()["model"] for seed in (3, 3, 4))
    assert all(mx.array_equal(first[name], again[name]) for name in first)
    assert not mx.array_equal(first["embed.weight"], other["embed.weight"])


def test_weights_start_as_the_torch_recipe_draws_them():
    weights = build(shape_of(d_model=256), vocab_size=2000).state()["model"]
    assert {name for name, p in weights.items() if not p.any()} == {
        name for name in weights if name.endswith(("out.weight", "down.weight", "gate.weight"))
    }
    assert weights["embed.weight"].std().item() == pytest.approx(1, rel=0.01)
    assert weights["head.weight"].std().item() == pytest.approx(0.001, rel=0.01)
    bound = (3 / 256) ** 0.5
    for name in ("blocks.0.attention.q.weight", "blocks.1.mlp.up.weight", "value_embeds.0.weight"):
        assert 0.99 * bound < mx.abs(weights[name]).max().item() <= bound
    assert weights["resid_lambdas"].tolist() == [1, 1, 1]
    assert weights["x0_lambdas"].tolist() == pytest.approx([0.1] * 3)


def test_building_leaves_the_global_generator_alone():
    before = mx.random.state[0].tolist()
    build(shape_of())
    assert mx.random.state[0].tolist() == before


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_saved_state_continues_bit_for_bit(dtype, tmp_path):
    shape, engine = shape_of(passes=2), open_engine("mlx", "cpu")
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


def test_a_snapshot_outlives_the_steps_after_it():
    shape, engine = shape_of(), open_engine("mlx", "cpu")
    recipe = build(shape)
    before = engine.snapshot(recipe.state())
    kept = {name: np.array(array) for name, array in before["model"].items()}
    recipe.step(rows_of(shape), 0.0)
    assert all(np.array_equal(np.array(before["model"][name]), array) for name, array in kept.items())
    assert not mx.array_equal(recipe.state()["model"]["embed.weight"], before["model"]["embed.weight"])


def test_weights_alone_are_enough_for_logits():
    trained, fresh = build(shape_of()), build(shape_of(), seed=1)
    trained.step(rows_of(trained.shape), 0.0)
    fresh.load({"model": trained.state()["model"]})
    tokens = rows_of(trained.shape)[:, :-1]
    assert mx.array_equal(trained.logits(tokens), fresh.logits(tokens))


def test_a_state_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"blocks\.2"):
        build(shape_of(depth=3)).load(build(shape_of(depth=2)).state())
    with pytest.raises(ValueError, match=r"has shape \(.*expected"):
        build(shape_of(d_model=64)).load(build(shape_of(d_model=32)).state())


def test_later_tokens_leave_earlier_logits_alone():
    recipe = build(shape_of(seq_len=160, window_pattern="SSL"))
    make_nothing_zero(recipe)
    tokens = rows_of(recipe.shape)[:, :-1]
    changed = mx.where(mx.arange(160) < 140, tokens, (tokens + 7) % VOCAB_SIZE)
    before, after = recipe.logits(tokens), recipe.logits(changed)
    assert mx.array_equal(before[:, :140], after[:, :140])
    assert not mx.array_equal(before[:, 140:], after[:, 140:])


def test_a_short_row_model_reads_evaluation_rows():
    logits = build(shape_of(seq_len=256, d_model=16, heads=1)).logits(mx.arange(2048)[None] % VOCAB_SIZE)
    assert logits.shape == (1, 2048, VOCAB_SIZE)
    assert logits.dtype == mx.float32
    assert mx.isfinite(logits).all()
    assert mx.abs(logits).max().item() <= gpt_mlx.SOFTCAP


def test_bf16_learns_as_fp32_does():
    shape = shape_of(passes=2)
    losses = {}
    for dtype in ("fp32", "bf16"):
        recipe = build(shape, dtype=dtype)
        make_nothing_zero(recipe)
        losses[dtype] = [recipe.step(rows_of(shape, step), step / 20).item() for step in range(20)]
    assert np.isfinite(losses["bf16"]).all()
    assert losses["bf16"][-1] == pytest.approx(losses["fp32"][-1], rel=0.05)
    assert losses["bf16"][-1] < 0.7 * losses["bf16"][0]


def test_a_compiled_step_follows_the_eager_one():
    shape = shape_of(passes=2)
    compiled, eager = build(shape, compile="on"), build(shape)
    for recipe in (compiled, eager):
        make_nothing_zero(recipe)
    for step in range(4):
        rows = rows_of(shape, step)
        assert compiled.step(rows, 0.6).item() == pytest.approx(eager.step(rows, 0.6).item(), abs=1e-4)
    tokens = rows_of(shape)[:, :-1]
    assert mx.allclose(compiled.logits(tokens), eager.logits(tokens), atol=1e-3), "compiled logits see new weights"


def test_a_compiled_step_is_traced_once_whatever_the_schedule_says(monkeypatch):
    traced = []
    monkeypatch.setattr(gpt_mlx.GPT, "loss", lambda self, rows: traced.append(1) or self.hidden(rows).sum())
    recipe = build(shape_of(depth=1), compile="on")
    for progress in (0.0, 0.3, 0.9):
        recipe.step(rows_of(recipe.shape), progress).item()
    assert len(traced) == 1


def test_a_step_only_starts_the_work(monkeypatch):
    started = []
    monkeypatch.setattr(gpt_mlx.mx, "async_eval", lambda *arrays: started.append(arrays))
    recipe = build(shape_of(seq_len=128, d_model=64, depth=1))
    begun = time.perf_counter()
    loss = recipe.step(rows_of(recipe.shape), 0.0)
    returned = time.perf_counter() - begun
    assert started[0][0] is loss
    assert loss.item() > 0
    assert returned < 0.5 * (time.perf_counter() - begun), "nothing in step() waits for a value"


def peak_bytes(shape: Shape, compile: str = "off") -> int:
    recipe = build(shape, compile=compile)
    recipe.step(rows_of(shape), 0.0).item()
    mx.synchronize()
    mx.reset_peak_memory()
    recipe.step(rows_of(shape), 0.0).item()
    mx.synchronize()
    return mx.get_peak_memory() - mx.get_active_memory()


@pytest.mark.parametrize("compile", ["off", pytest.param("on", marks=pytest.mark.slow)])
def test_passes_do_not_add_their_activations_up(compile):
    size = {"seq_len": 128, "d_model": 64, "depth": 2}
    assert peak_bytes(shape_of(passes=6, **size), compile) < 1.5 * peak_bytes(shape_of(passes=1, **size), compile)


@pytest.mark.parametrize(
    ("preset", "millions"),
    [("m5-tiny", 3.5), ("m5-small", 11.5), ("m5-balanced", 26.3), ("m5-large", 50.3), ("m5-xlarge", 50.3)],
)
def test_presets_have_the_promised_number_of_parameters(preset, millions):
    model = gpt_mlx.GPT(PRESETS[preset].shape, 8192, mx.float32)
    count = sum(p.size for p in gpt_mlx.named(model.parameters()).values())
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.metal
@pytest.mark.parametrize("compile", ["on", "off"])
def test_a_metal_step_follows_the_cpu_one(compile):
    shape = shape_of(passes=2, d_model=256, seq_len=128)
    losses = {}
    for device in ("metal", "cpu"):
        handle = open_engine("mlx", device, dtype="bf16", compile=compile if device == "metal" else "off").handle
        recipe = gpt_mlx.build(shape, VOCAB_SIZE, 0, handle)
        make_nothing_zero(recipe)
        losses[device] = [recipe.step(rows_of(shape, step), 0.6).item() for step in range(4)]
    assert losses["metal"] == pytest.approx(losses["cpu"], rel=0.02)
