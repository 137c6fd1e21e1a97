"""Where a command works: device, hardware key, versions, scratch; and what is missing there for a kernel's language."""

from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from kernels.catalog import MEASURED_WITH
from kernels.records import Language
from shared.machine.device import Device
from shared.machine.hardware import Hardware, detect


class Missing(Exception):
    """A command cannot be carried out here: which of the named statuses, and one line about it."""

    def __init__(self, status: str, reason: str):
        super().__init__(reason)
        self.status, self.reason = status, reason


@dataclass(frozen=True)
class Surroundings:
    device: str
    hardware: Hardware
    work: Path
    """scratch of this command's candidates"""

    @property
    def hardware_key(self) -> str:
        return self.hardware.hardware_key

    @property
    def libs(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in MEASURED_WITH if find_spec(name) is not None}

    @property
    def reference_device(self) -> str:
        """Where the lab computes what is right: Apple GPUs know no float64."""
        return "cpu" if Device.parse(self.device).is_apple else self.device

    def interprets(self, language: Language) -> bool:
        """Triton on a CPU: numpy, one program after the other. Proves arithmetic and masks, not races or speed."""
        return language is Language.TRITON and Device.parse(self.device).is_cpu


def surroundings(device: str | None, work: Path) -> Surroundings:
    hardware = detect(device)
    return Surroundings(device or hardware.device, hardware, work)


def need(language: Language, around: Surroundings) -> None:
    """Missing, when a kernel in this language cannot run here."""
    device = Device.parse(around.device)
    if find_spec("torch") is None:
        raise Missing(
            "missing-runtime", "PyTorch is not installed: every reference is computed with it (pip install torch)"
        )
    if language is Language.TRITON and find_spec("triton") is None:
        raise Missing("missing-runtime", "Triton is not installed: pip install triton (Linux only)")
    if language is Language.METAL and not device.is_apple:
        raise Missing("missing-runtime", f"Metal kernels need an Apple chip; this device is {device}")
    if language in (Language.MLX, Language.METAL) and find_spec("mlx") is None:
        raise Missing("missing-runtime", "MLX is not installed: pip install mlx on a Mac, mlx[cpu] on Linux")
