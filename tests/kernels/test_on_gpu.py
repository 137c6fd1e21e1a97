"""Kernels on a CUDA device, at odd sizes and at those of presets, and the recipe with all of them compiled."""

import pytest
import torch

from kernels import catalog
from kernels.records import Language, Status
from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.engines import open_engine
from tests.kernels.checking import check, of_language

pytestmark = pytest.mark.gpu
pytest.importorskip("triton")
KERNELS = [*of_language(Language.TRITON), ("launch_fusion", "torch_graph")]
SHAPE = Shape(
    seq_len=256, depth=4, d_model=256, heads=2, window_pattern="SL", device_batch_size=8, total_batch_size=4096
)


@pytest.mark.parametrize("which", ["test", "bench"])
@pytest.mark.parametrize(("op", "kernel"), KERNELS)
def test_a_kernel_computes_what_its_reference_does(op, kernel, which):
    for workload in catalog.workloads(catalog.definition(op), which):
        for seed in (0, 1):  # new numbers in new memory: a kernel that kept the first ones shows
            assert check(op, catalog.load(op, kernel), workload, seed, "cuda:0") == (Status.PASSED, ""), workload.uuid


def losses(kernels: dict[str, str], compile: str) -> list[float]:
    engine = open_engine("torch", "cuda:0", compile=compile, kernels=kernels)
    recipe = gpt_torch.build(SHAPE, 8192, 0, engine.handle)
    rows = torch.arange(16 * 257, device="cuda:0").reshape(16, 257) % 97
    found = [recipe.step(rows.roll(step, 1), step / 20) for step in range(20)]  # read late, as the training loop does
    launches = [one.chosen for one in engine.choices if one.what == "launches"]
    assert launches == (["one CUDA graph"] if compile == "step" else []), engine.choices
    return [loss.item() for loss in found]


def test_a_step_as_one_graph_trains_as_its_launches_do():
    launched, graph = losses({}, "on"), losses({}, "step")
    assert graph == pytest.approx(launched, rel=0.01)


@pytest.mark.parametrize("compile", ["off", "on", "graphs", "step"])
def test_a_recipe_learns_alike_with_all_of_them(compile):
    kernels = {op: kernel for op, kernel in of_language(Language.TRITON) if op in gpt_torch.OPS}
    plain, fused = losses({}, "on"), losses(kernels, compile)
    assert fused[-1] < 0.8 * fused[0]
    assert fused == pytest.approx(plain, rel=0.02)
