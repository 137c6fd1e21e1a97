"""Which machine is this: one accelerator or the CPU, with the hardware key results are compared under.

Reads NVML, sysctl and system_profiler, /proc; imports no framework. The probes return what the operating system
printed, `*_hardware` functions turn that into a Hardware, so every machine can be tested on any machine.
"""

import json
import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import psutil

from shared.machine.device import Device, DeviceKind
from shared.machine.targets import target_for
from shared.settings import CHECKOUT

_GIB = 2**30
_GENERATIONS = {70: "volta", 75: "turing", 80: "ampere", 89: "ada", 90: "hopper", 100: "blackwell"}


class Vendor(StrEnum):
    NVIDIA = "nvidia"
    APPLE = "apple"
    CPU = "cpu"
    """no accelerator, whoever made the processor"""


@dataclass(frozen=True)
class Hardware:
    vendor: Vendor
    product: str
    """as the vendor prints it"""
    architecture: str
    """sm_121, metal or cpu"""
    memory_bytes: int
    """what the device can allocate from: its own memory, or the machine's where they share one"""
    device: str
    """as in Job.device: cuda:0, metal or cpu"""
    device_id: str
    """tells devices of one machine apart, also under CUDA_VISIBLE_DEVICES"""
    cores: int
    """GPU cores on Apple; CPU cores elsewhere"""
    driver_version: str
    hardware_key: str
    target: str


@dataclass(frozen=True)
class NvidiaProbe:
    """What NVML says about one GPU; memory_bytes is None where it answers 'not supported' (GB10)."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int | None
    uuid: str
    driver_version: str


def detect(device: str | None = None) -> Hardware:
    """The machine's best device, or the one named as in Job.device. ValueError when it is not there."""
    asked = Device.parse(device) if device else _best_device()
    if asked.is_apple:
        if not is_apple_silicon():
            raise ValueError(f"device '{device}' needs an Apple chip and macOS; this is {platform.platform()}")
        return apple_hardware(_probe_apple())
    if asked.is_cuda:
        gpus = visible_gpus()
        if asked.index >= len(gpus):
            raise ValueError(f"device '{device}' is not here: {len(gpus)} NVIDIA GPUs are visible")
        return nvidia_hardware(gpus[asked.index], str(asked), psutil.virtual_memory().total)
    return cpu_hardware(*_probe_cpu())


def target_here() -> str:
    """This machine's target, for an example in a message; `cpu` where its GPU has none."""
    try:
        return detect().target
    except ValueError:
        return "cpu"


def _best_device() -> Device:
    if is_apple_silicon():
        return Device(DeviceKind.METAL)
    return Device(DeviceKind.CUDA) if visible_gpus() else Device(DeviceKind.CPU)


def is_apple_silicon() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


# NVIDIA


def visible_gpus() -> list[NvidiaProbe]:
    """As CUDA numbers them with CUDA_DEVICE_ORDER=PCI_BUS_ID, which shared/sandbox/processes.py sets."""
    return _visible(_probe_nvidia(), os.environ.get("CUDA_VISIBLE_DEVICES"))


def _visible(gpus: tuple[NvidiaProbe, ...], selection: str | None) -> list[NvidiaProbe]:
    """Like CUDA: the list is read up to the first entry that names no GPU."""
    if selection is None:
        return list(gpus)
    chosen: list[NvidiaProbe] = []
    for entry in filter(None, (part.strip() for part in selection.split(","))):
        found = [gpu for number, gpu in enumerate(gpus) if entry == str(number) or gpu.uuid.startswith(entry)]
        if not found:
            break
        chosen.append(found[0])
    return chosen


@cache
def _probe_nvidia() -> tuple[NvidiaProbe, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_probe_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    finally:
        pynvml.nvmlShutdown()


def _probe_gpu(pynvml: ModuleType, index: int) -> NvidiaProbe:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    try:
        memory_bytes = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) or None
    except pynvml.NVMLError:
        memory_bytes = None
    return NvidiaProbe(
        name=pynvml.nvmlDeviceGetName(handle),
        capability=tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        memory_bytes=memory_bytes,
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        driver_version=pynvml.nvmlSystemGetDriverVersion(),
    )


def nvidia_hardware(probe: NvidiaProbe, device: str, system_memory_bytes: int) -> Hardware:
    major, minor = probe.capability
    architecture = f"sm_{major}{minor}"
    memory_bytes = probe.memory_bytes or system_memory_bytes
    # the memory size is a part of some names and not of others
    product = _slug(re.sub(r"NVIDIA|GeForce|Generation|\b\d+ ?GB\b", " ", probe.name, flags=re.IGNORECASE))
    key = f"nvidia-{_generation(10 * major + minor)}-{product}-{_gigabytes(memory_bytes)}gb"
    return Hardware(
        vendor=Vendor.NVIDIA,
        product=probe.name,
        architecture=architecture,
        memory_bytes=memory_bytes,
        device=device,
        device_id=probe.uuid,
        cores=_cpu_count(),
        driver_version=probe.driver_version,
        hardware_key=key,
        target=target_for(architecture, key).name,
    )


def _generation(capability: int) -> str:
    known = [number for number in _GENERATIONS if number <= capability]
    return _GENERATIONS[max(known)] if known else "old"


# Apple


def _probe_apple() -> tuple[str, int, str, str]:
    """Chip name, memory in bytes, system_profiler's JSON about the GPU, version of macOS."""
    chip = _output("sysctl", "-n", "machdep.cpu.brand_string")
    memory = int(_output("sysctl", "-n", "hw.memsize"))
    displays = _output("system_profiler", "-json", "SPDisplaysDataType")
    return chip, memory, displays, platform.mac_ver()[0]


def apple_hardware(probe: tuple[str, int, str, str]) -> Hardware:
    chip, memory_bytes, displays, macos = probe
    gpus = json.loads(displays).get("SPDisplaysDataType", [])
    cores = next((int(gpu["sppci_cores"]) for gpu in gpus if "sppci_cores" in gpu), 0)
    key = f"{_slug(chip)}-{_gigabytes(memory_bytes)}gb-{cores}gpu"
    return Hardware(
        vendor=Vendor.APPLE,
        product=chip,
        architecture="metal",
        memory_bytes=memory_bytes,
        device="metal",
        device_id="metal",
        cores=cores,
        driver_version=f"macOS {macos}",
        hardware_key=key,
        target=target_for("metal", key).name,
    )


# CPU


def _probe_cpu() -> tuple[str, int, int]:
    """The processor's name, the cores this process may use, the machine's memory in bytes."""
    return _cpu_name(), _cpu_count(), psutil.virtual_memory().total


def _cpu_name() -> str:
    if sys.platform == "darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    with suppress(OSError):
        if name := cpuinfo_name(Path("/proc/cpuinfo").read_text()):
            return name
    return platform.processor() or platform.machine()


def cpuinfo_name(cpuinfo: str) -> str:
    """x86's 'model name', or empty: arm64 lists only numbers there."""
    matched = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, flags=re.MULTILINE)
    return matched[1].strip() if matched else ""


def _cpu_count() -> int:
    with suppress(AttributeError):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_hardware(name: str, cores: int, memory_bytes: int) -> Hardware:
    # '(R)', '(TM)', 'CPU @ 2.10GHz' and 'n-Core Processor' say nothing that tells machines apart
    product = _slug(re.sub(r"\((R|TM)\)|\bCPU\b|@.*|\b\d+-Core\b|\bProcessor\b", " ", name, flags=re.IGNORECASE))
    key = f"cpu-{product}-{cores}core-{_gigabytes(memory_bytes)}gb"
    return Hardware(
        vendor=Vendor.CPU,
        product=name,
        architecture="cpu",
        memory_bytes=memory_bytes,
        device="cpu",
        device_id="cpu",
        cores=cores,
        driver_version=f"{platform.system()} {platform.release()}",
        hardware_key=key,
        target=target_for("cpu", key).name,
    )


# the engine


def default_engine(hardware: Hardware) -> tuple[str, str, str]:
    """(engine, device, why), as in Job. ValueError asks for --engine where two are equally right."""
    if hardware.vendor is Vendor.APPLE:
        return _apple_engine(find_spec("mlx") is not None, find_spec("torch") is not None)
    if hardware.vendor is Vendor.NVIDIA:
        return "torch", hardware.device, f"{hardware.product} is an NVIDIA GPU"
    if find_spec("torch") is None and find_spec("mlx") is not None:
        raise ValueError(
            "only mlx is installed and this is no Apple chip: say --engine mlx to train on its CPU back end"
        )
    return "torch", "cpu", "no NVIDIA GPU and no Apple chip was found"


def _apple_engine(has_mlx: bool, has_torch: bool) -> tuple[str, str, str]:
    if has_mlx and (CHECKOUT / "services/trainer/recipes/gpt_mlx.py").is_file():
        return "mlx", "metal", "Apple chip"
    missing = "the mlx recipe is not in this checkout" if has_mlx else "mlx is not installed (pip install mlx)"
    if has_torch:
        return "torch", "mps", f"Apple chip, but {missing}"
    raise ValueError(f"no engine for this Apple chip: {missing}, torch is not installed either")


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _gigabytes(memory_bytes: int) -> int:
    return round(memory_bytes / _GIB)
