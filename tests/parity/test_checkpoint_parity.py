"""A checkpoint is no engine's: either reads what the other wrote, and trains on from it."""

import numpy as np
import pytest

from tests.handed_over import save
from tests.parity.twins import make_rows, make_twins, mx, small, torch

ARRAYS = {
    "fp32": np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32),
    "step": np.array(7, dtype=np.int64),
    "bytes": np.arange(5, dtype=np.uint8),
}


@pytest.mark.parametrize("direction", ["torch to mlx", "mlx to torch"])
def test_files_cross_over_bit_for_bit(direction, tmp_path):
    writer, reader = (twin.engine for twin in make_twins(small("m5-tiny"))[:: 1 if direction == "torch to mlx" else -1])
    convert = {"torch": lambda a: torch.tensor(a), "mlx": mx.array}[writer.name]
    arrays = {name: convert(array) for name, array in ARRAYS.items()}
    bf16 = {"torch": lambda a: a.bfloat16(), "mlx": lambda a: a.astype(mx.bfloat16)}[writer.name]
    arrays["bf16"] = bf16(arrays["fp32"])
    save(writer, tmp_path / "a.safetensors", arrays)
    loaded = reader.load(tmp_path / "a.safetensors")
    assert "bfloat16" in str(loaded["bf16"].dtype)
    for name, array in arrays.items():
        assert np.array_equal(reader.to_host(loaded[name]), writer.to_host(array)), name


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("direction", ["torch to mlx", "mlx to torch"])
def test_a_run_goes_on_with_the_other_engine(direction, dtype, tmp_path):
    order = 1 if direction == "torch to mlx" else -1
    first, _ = make_twins(small("m5-balanced"), dtype=dtype)[::order]
    _, other = make_twins(small("m5-balanced"), dtype=dtype)[::order]
    shape = first.recipe.shape
    for step in range(3):
        first.step(make_rows(shape, step), 0.2)
    state = first.recipe.state()
    for group, arrays in state.items():
        save(first.engine, tmp_path / f"{group}.safetensors", arrays)
    other.recipe.load({group: other.engine.load(tmp_path / f"{group}.safetensors") for group in state})
    assert other.recipe.telemetry()["muon_momentum"] == first.recipe.telemetry()["muon_momentum"]
    rel = {"fp32": 1e-4, "bf16": 2e-2}[dtype]
    for step in range(3, 6):
        rows = make_rows(shape, step)
        assert other.step(rows, 0.7) == pytest.approx(first.step(rows, 0.7), rel=rel)


def test_both_name_every_array_alike():
    torch_twin, mlx_twin = (twin.state() for twin in make_twins(small("upstream")))
    for group in ("model", "optimizer"):
        shapes = [{name: array.shape for name, array in state[group].items()} for state in (torch_twin, mlx_twin)]
        assert shapes[0] == shapes[1]
