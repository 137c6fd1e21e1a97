"""The table is walked: a new row is tested by being there."""

from types import SimpleNamespace

import pytest

from shared.machine.targets import TARGETS, driver_problem, find_target, peak_bandwidth, peak_flops, target_for

SPEC_NAMES = {"gb10", "gh200", "h100", "h200", "a100", "b200", "rtx50", "rtx40", "l40s", "mac", "cpu"}


def machine(key: str, target: str):
    return SimpleNamespace(hardware_key=key, target=target)


def test_the_specified_targets_are_there_once_each():
    names = [target.name for target in TARGETS]
    assert len(names) == len(set(names))
    assert set(names) == SPEC_NAMES


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_target_can_be_found_and_ends_in_sdpa(target):
    assert find_target(target.name) is target
    assert target.queue == target.name
    assert target.attention[-1] == "sdpa"
    assert target.image or target.name == "mac"


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_flash_attention_4_is_tried_only_where_it_can_train(target):
    supported = all(architecture.startswith(("sm_9", "sm_10", "sm_12")) for architecture in target.architectures)
    assert ("fa4" in target.attention) == supported


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_peaks_are_plausible(target):
    for product in target.products:
        assert 1 < product.bf16_tflops < 5000
        assert 100 <= product.bandwidth_gbs <= 10_000


def test_an_unknown_target_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown target 'tpu': choose one of gb10, .*cpu"):
        find_target("tpu")


def test_the_narrower_target_wins_where_two_share_an_architecture():
    assert target_for("sm_90", "nvidia-hopper-h200-140gb").name == "h200"
    assert target_for("sm_90", "nvidia-hopper-gh200-96gb").name == "gh200"
    assert target_for("sm_89", "nvidia-ada-l40s-45gb").name == "l40s"


@pytest.mark.parametrize(
    ("version", "is_old"), [("570.133.20", True), ("580.65.06", False), ("590.1", False), ("", False), ("N/A", False)]
)
def test_a_driver_that_is_too_old_for_the_packages_is_told_the_oldest_that_will_do(version, is_old):
    assert ("580 or newer" in driver_problem(version)) == is_old


def test_a_newer_chip_of_a_generation_takes_its_older_code():
    assert target_for("sm_103", "nvidia-blackwell-b300-269gb").name == "b200"


@pytest.mark.parametrize(
    ("key", "target", "tflops", "gigabytes"),
    [
        ("nvidia-blackwell-gb10-120gb", "gb10", 125, 273),
        ("nvidia-hopper-h100-hbm3-80gb", "h100", 989, 3350),
        ("nvidia-hopper-gh200-96gb", "gh200", 989, 4000),
        ("nvidia-hopper-gh200-141gb", "gh200", 989, 4900),
        ("nvidia-hopper-h100-pcie-80gb", "h100", 756, 2000),
        ("nvidia-ampere-a100-sxm4-40gb", "a100", 312, 1555),
        ("nvidia-ampere-a100-pcie-80gb", "a100", 312, 1935),
        ("nvidia-ampere-a100-sxm4-80gb", "a100", 312, 2039),
        ("nvidia-blackwell-rtx-5090-32gb", "rtx50", 209.5, 1790),
        ("apple-m5-32gb-10gpu", "mac", 16.2, 153.6),
    ],
)
def test_a_known_product_has_its_own_peak(key, target, tflops, gigabytes):
    assert peak_flops(machine(key, target))[0] == tflops * 1e12
    assert peak_bandwidth(machine(key, target))[0] == gigabytes * 1e9


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("nvidia-ada-rtx-4090-laptop-gpu-16gb", "rtx40"),
        ("apple-m5-max-64gb-40gpu", "mac"),
        ("apple-m5-pro-24gb-10gpu", "mac"),
        ("cpu-amd-epyc-2core-24gb", "cpu"),
    ],
)
def test_an_unknown_product_has_no_peak_and_says_so(key, target):
    assert peak_flops(machine(key, target)) == (None, f"no published bf16 peak of {key} in shared/machine/targets.py")
    assert peak_bandwidth(machine(key, target))[0] is None
