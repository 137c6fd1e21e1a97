"""From counts to times and tables: arithmetic that anybody can repeat by hand."""

from pathlib import Path

import pytest

from services.console.estimate_request import changed_shape, compile_mode, sides
from services.console.estimate_view import markdown
from services.kernel_lab.estimate.roofline import TimeModel, estimate_side
from shared.experiment.presets import PRESETS
from shared.kernel_lab.estimate import Estimate, KernelCount, Kind, Phase, Side, StepCount
from shared.machine.gpus import GPUS, find_device, find_gpu
from shared.machine.targets import find_target, target_for

SHAPE = PRESETS["m5-tiny"].shape
MODEL = TimeModel(bandwidth=1e9, peak=1e12)


def kernel(name: str, phase: Phase = Phase.FORWARD, op: str = "mlp", **numbers: int) -> KernelCount:
    counts = {"calls": 1, "launches": 1, "bytes": 0, "flops": 0} | numbers
    return KernelCount(phase=phase, kind=Kind.TRITON, kernel=name, op=op, **counts)


def step(*kernels: KernelCount, host_launches: int = 0) -> StepCount:
    return StepCount(kernels=kernels, host_launches=host_launches, state_bytes=0, gradient_bytes=0, peak_bytes=2**20)


def side(counted: StepCount, model: TimeModel = MODEL, name: str = "ours"):
    return estimate_side(Side(name=name, recipe=Path("recipe.py")), counted, SHAPE, model)


def test_a_kernel_takes_its_bytes_over_the_bandwidth_and_its_flops_over_the_peak():
    found = side(step(kernel("a", bytes=2_000_000, flops=10**9), kernel("b", bytes=1_000_000)))
    assert found.seconds == pytest.approx(0.002 + 0.001 + 0.001)
    assert found.tokens_per_s == pytest.approx(SHAPE.total_batch_size / 0.004)


def test_launches_of_the_host_are_the_limit_where_they_take_longer_than_the_device():
    counted = step(kernel("a", bytes=1_000_000), host_launches=1000)
    assert side(counted, TimeModel(1e9, 1e12, launch_s=5e-6)).seconds == pytest.approx(0.005)
    assert side(counted, TimeModel(1e9, 1e12, launch_s=1e-7)).seconds == pytest.approx(0.001)


def test_phases_stand_in_the_order_of_a_step_and_ops_by_their_time():
    update = kernel("c", Phase.OPTIMIZER, "muon", bytes=5_000_000)
    found = side(step(update, kernel("a", bytes=1_000), kernel("b", Phase.BACKWARD, bytes=3_000)))
    assert [cost.name for cost in found.phases] == ["forward", "backward", "optimizer"]
    assert [(cost.name, cost.bytes) for cost in found.ops] == [("muon", 5_000_000), ("mlp", 4_000)]


def test_two_sides_stand_beside_each_other_with_their_ratio():
    sides_ = (side(step(kernel("a", bytes=1_000_000))), side(step(kernel("a", bytes=2_000_000)), name="theirs"))
    gpu = find_gpu("gb10")
    estimate = Estimate(
        target=gpu.target, architecture=gpu.architecture, hardware_key=gpu.hardware_key, peak_tflops=125,
        bandwidth_gbs=273, shape=SHAPE, vocab_size=8192, model=MODEL.words, framework="torch", sides=sides_,
    )  # fmt: skip
    (line,) = [line for line in markdown(estimate, top=3).splitlines() if line.startswith("| bytes a token")]
    assert [cell.strip() for cell in line.split("|")[2:5]] == ["81", "163", "0.500"]


@pytest.mark.parametrize("gpu", GPUS, ids=lambda gpu: gpu.target)
def test_an_imagined_gpu_is_a_product_of_its_target_with_known_peaks(gpu):
    assert target_for(gpu.architecture, gpu.hardware_key).name == gpu.target
    assert gpu.architecture in find_target(gpu.target).architectures
    assert gpu.peak_flops > 1e13
    assert gpu.bandwidth > 1e11


def test_a_target_without_a_gpu_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"no GPU of target 'abacus'.*gb10, h200.*mac"):
        find_device("abacus")


def test_a_mac_is_a_device_for_an_estimate_and_no_nvidia_gpu():
    assert find_device("mac").bandwidth == 153.6e9
    with pytest.raises(ValueError, match="no GPU of target 'mac'"):
        find_gpu("mac")


def test_wrong_options_are_refused_in_one_line(tmp_path):
    with pytest.raises(ValueError, match="unknown key 'dtype': here --set takes seq_len"):
        changed_shape("m5-tiny", {"dtype": "bf16"})
    with pytest.raises(ValueError, match="an estimate is of compiled code"):
        compile_mode("off")
    with pytest.raises(ValueError, match="does not exist"):
        sides((tmp_path / "none.py", None), ({}, None), "torch")


def test_other_kernels_of_the_same_recipe_make_a_second_side():
    first, second = sides((None, None), ({}, {"rmsnorm": "triton_rows"}), "torch")
    assert first.recipe == second.recipe
    assert second.name == "gpt_torch rmsnorm=triton_rows"
