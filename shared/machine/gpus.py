"""GPUs that nobody needs to have here: one for each NVIDIA target, with what a compiler asks of a device, and a Mac's.

From NVIDIA's architecture white papers and the CUDA programming guide's table of compute capabilities. Peaks and
bandwidths are in targets.py.
"""

from dataclasses import dataclass

from shared.machine.targets import peak_bandwidth, peak_flops

_KIB, _MIB, _GIB = 2**10, 2**20, 2**30


@dataclass(frozen=True)
class Device:
    """What an estimate asks of a GPU."""

    target: str
    hardware_key: str
    """of a product of that target, as shared/machine/hardware.py would name it"""
    architecture: str

    @property
    def peak_flops(self) -> float:
        """Dense bf16 products, FLOP/s."""
        return _known(*peak_flops(self))

    @property
    def bandwidth(self) -> float:
        """Bytes per second of device memory."""
        return _known(*peak_bandwidth(self))


@dataclass(frozen=True)
class Gpu(Device):
    """What NVIDIA's compilers ask of one besides."""

    multiprocessors: int
    threads_per_multiprocessor: int
    shared_memory_bytes: int
    """that one block may ask for"""
    l2_bytes: int
    memory_bytes: int

    @property
    def capability(self) -> tuple[int, int]:
        number = int(self.architecture.removeprefix("sm_"))
        return number // 10, number % 10


def _gpu(target: str, key: str, architecture: str, processors: str, l2_mib: int, memory_gib: int) -> Gpu:
    """processors: how many / threads each / KiB of shared memory a block"""
    count, threads, shared_kib = map(int, processors.split("/"))
    return Gpu(target, key, architecture, count, threads, shared_kib * _KIB, l2_mib * _MIB, memory_gib * _GIB)


GPUS: tuple[Gpu, ...] = (
    _gpu("gb10", "nvidia-blackwell-gb10-120gb", "sm_121", "48/1536/99", 24, 120),
    _gpu("h200", "nvidia-hopper-h200-141gb", "sm_90", "132/2048/227", 50, 141),
    _gpu("h100", "nvidia-hopper-h100-80gb", "sm_90", "132/2048/227", 50, 80),
    _gpu("b200", "nvidia-blackwell-b200-180gb", "sm_100", "148/2048/227", 126, 180),
    _gpu("a100", "nvidia-ampere-a100-sxm4-80gb", "sm_80", "108/2048/163", 40, 80),
    _gpu("rtx50", "nvidia-blackwell-rtx-5090-32gb", "sm_120", "170/1536/99", 96, 32),
    _gpu("l40s", "nvidia-ada-l40s-48gb", "sm_89", "142/1536/99", 96, 48),
    _gpu("rtx40", "nvidia-ada-rtx-4090-24gb", "sm_89", "128/1536/99", 72, 24),
)


MAC = Device("mac", "apple-m5-32gb-10gpu", "metal")


def find_device(target: str) -> Device:
    """ValueError names those there are."""
    return MAC if target == MAC.target else find_gpu(target)


def find_gpu(target: str) -> Gpu:
    """ValueError names those there are."""
    for gpu in GPUS:
        if gpu.target == target:
            return gpu
    raise ValueError(
        f"no GPU of target '{target}' can be imagined: choose one of {', '.join(g.target for g in (*GPUS, MAC))}"
    )


def _known(value: float | None, reason: str) -> float:
    assert value is not None, reason
    return value
