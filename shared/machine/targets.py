"""The targets: kinds of hardware the stack is built for, one row each. Adding a target is adding a row here.

Peaks are dense bf16 products with fp32 accumulation, from vendors' data sheets; a product without a row has no
known peak and its MFU is left out, never guessed. Hardware keys: shared/machine/hardware.py, docs/hardware.md.
Imports nothing but the standard library: compose/ reads it on a host without packages.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol


class Machine(Protocol):
    """What is asked of a machine here, as shared/machine/hardware.py finds it."""

    @property
    def hardware_key(self) -> str: ...

    @property
    def target(self) -> str: ...


@dataclass(frozen=True)
class Product:
    key: str
    """glob over hardware keys"""
    bf16_tflops: float | None
    bandwidth_gbs: float | None
    """10^9 bytes per second"""


@dataclass(frozen=True)
class Target:
    name: str
    """also the name of the queue"""
    architectures: tuple[str, ...]
    attention: tuple[str, ...]
    """torch backends in the order they are probed; the first that proves itself is used"""
    products: tuple[Product, ...] = ()
    only: str = "*"
    """glob over hardware keys, where targets share an architecture; the narrower target stands first"""
    image: str | None = None
    """of its executors, in images/docker-bake.hcl; None runs natively (Docker on macOS has no Metal)"""

    @property
    def queue(self) -> str:
        return self.name


OLDEST_DRIVER = 580
"""NVIDIA's, for the CUDA 13 in PyTorch's packages: docs.nvidia.com/cuda/cuda-toolkit-release-notes"""

# FlashAttention 4 trains on 9.x, 10.x, 11.x and 12.x; its backward refuses 8.x
_FROM_HOPPER = ("fa4", "flex", "sdpa")
_AMPERE_ADA = ("fa2", "flex", "sdpa")

# GeForce: SMs x boost clock x 512, which gives the 209.5 and 165.2 of NVIDIA's white papers. Apple: GPU cores x
# 1.578 GHz x 256 (ALUs), x 1024 on M5 (neural accelerators). GB10: as reported, no data sheet gives dense bf16.
TARGETS: tuple[Target, ...] = (
    Target("gb10", ("sm_121",), _FROM_HOPPER, (Product("nvidia-*-gb10-*", 125, 273),), image="executor-cuda-sm120-fa4"),
    Target(
        "h200",
        ("sm_90",),
        _FROM_HOPPER,
        (Product("nvidia-*-h200-nvl-*", 836, 4800), Product("nvidia-*-h200-*", 989, 4800)),
        only="*-h200-*",
        image="executor-cuda-sm90",
    ),
    Target(
        "gh200",
        ("sm_90",),
        _FROM_HOPPER,
        (Product("nvidia-*-gh200-1[0-9]*gb", 989, 4900), Product("nvidia-*-gh200-*", 989, 4000)),
        only="*-gh200-*",
        image="executor-cuda-sm90",
    ),
    Target(
        "h100",
        ("sm_90",),
        _FROM_HOPPER,
        (
            Product("nvidia-*-h100-pcie-*", 756, 2000),
            Product("nvidia-*-h100-nvl-*", 835, 3900),
            Product("nvidia-*-h100-*", 989, 3350),
        ),
        image="executor-cuda-sm90",
    ),
    Target("b200", ("sm_100",), _FROM_HOPPER, (Product("nvidia-*-b200-*", 2250, 8000),), image="executor-cuda-sm100"),
    Target(
        "a100",
        ("sm_80",),
        _AMPERE_ADA,
        (
            Product("nvidia-*-a100-*-40gb", 312, 1555),
            Product("nvidia-*-a100-pcie-80gb", 312, 1935),
            Product("nvidia-*-a100-*", 312, 2039),
            Product("nvidia-*-rtx-3090-24gb", 71, 936),
        ),
        image="executor-cuda-sm80",
    ),
    Target(
        "rtx50",
        ("sm_120",),
        _FROM_HOPPER,
        (
            Product("nvidia-*-rtx-5090-32gb", 209.5, 1790),
            Product("nvidia-*-rtx-5080-16gb", 112.6, 960),
            Product("nvidia-*-rtx-5070-ti-16gb", 87.9, 896),
            Product("nvidia-*-rtx-5070-12gb", 61.7, 672),
        ),
        image="executor-cuda-sm120-fa4",
    ),
    Target(
        "l40s",
        ("sm_89",),
        _AMPERE_ADA,
        (Product("nvidia-*-l40s-*", 362, 864),),
        only="*-l40s-*",
        image="executor-cuda-sm89",
    ),
    Target(
        "rtx40",
        ("sm_89",),
        _AMPERE_ADA,
        (
            Product("nvidia-*-rtx-4090-24gb", 165.2, 1008),
            Product("nvidia-*-rtx-4080-super-16gb", 104.4, 736),
            Product("nvidia-*-rtx-4080-16gb", 97.5, 717),
            Product("nvidia-*-rtx-4070-ti-12gb", 80.2, 504),
            Product("nvidia-*-l4-*", 121, 300),
        ),
        image="executor-cuda-sm89",
    ),
    Target(
        "mac",
        ("metal",),
        ("sdpa",),
        (
            Product("apple-m5-[0-9]*gb-10gpu", 16.2, 153.6),
            Product("apple-m4-[0-9]*gb-10gpu", 4.0, 120),
            Product("apple-m4-max-[0-9]*gb-40gpu", 16.2, 546),
        ),
    ),
    Target("cpu", ("cpu",), ("sdpa",), image="executor-cpu"),
)


def driver_problem(version: str) -> str:
    """What is wrong with an NVIDIA driver of this version; empty when nothing is, or nobody knows it."""
    major = version.split(".")[0]
    if not major.isdecimal() or int(major) >= OLDEST_DRIVER:
        return ""
    return f"NVIDIA driver {version} is too old for PyTorch's CUDA 13: install {OLDEST_DRIVER} or newer"


def find_target(name: str) -> Target:
    for target in TARGETS:
        if target.name == name:
            return target
    raise ValueError(f"unknown target '{name}': choose one of {', '.join(target.name for target in TARGETS)}")


def target_for(architecture: str, hardware_key: str) -> Target:
    """ValueError when no image could run there."""
    for runnable in _runnable_architectures(architecture):
        for target in TARGETS:
            if runnable in target.architectures and fnmatchcase(hardware_key, target.only):
                return target
    raise ValueError(
        f"no target for {hardware_key} ({architecture}): add a row to shared/machine/targets.py, or take --device cpu"
    )


def _runnable_architectures(architecture: str) -> list[str]:
    """The architecture itself, then older ones of its generation, whose code it runs (sm_86 runs sm_80's)."""
    if not architecture.startswith("sm_"):
        return [architecture]
    generation, minor = architecture[:-1], int(architecture[-1])
    return [f"{generation}{number}" for number in range(minor, -1, -1)]


def peak_flops(machine: Machine) -> tuple[float | None, str]:
    """Dense bf16 FLOP/s of this product and where the number is from; None and why when it is not known."""
    product = _product_of(machine)
    if product is None or product.bf16_tflops is None:
        return None, f"no published bf16 peak of {machine.hardware_key} in shared/machine/targets.py"
    return product.bf16_tflops * 1e12, f"{product.bf16_tflops:g} TFLOP/s dense bf16 ({product.key})"


def peak_bandwidth(machine: Machine) -> tuple[float | None, str]:
    """Bytes per second of device memory and where the number is from; None and why when it is not known."""
    product = _product_of(machine)
    if product is None or product.bandwidth_gbs is None:
        return None, f"no published memory bandwidth of {machine.hardware_key} in shared/machine/targets.py"
    return product.bandwidth_gbs * 1e9, f"{product.bandwidth_gbs:g} GB/s ({product.key})"


def _product_of(machine: Machine) -> Product | None:
    products = find_target(machine.target).products
    return next((product for product in products if fnmatchcase(machine.hardware_key, product.key)), None)
