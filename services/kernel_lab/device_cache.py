"""How large the last cache before a device's memory is: inputs smaller than that would be timed out of the cache."""

from pathlib import Path

from shared.machine.device import Device

UNKNOWN_BYTES = 64 << 20
"""taken where nobody tells"""
CPU_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_bytes(device: str) -> int:
    asked = Device.parse(device)
    if asked.is_cuda:
        import torch

        return int(torch.cuda.get_device_properties(asked.index).L2_cache_size)
    return _cpu_cache(CPU_CACHES)


def _cpu_cache(folder: Path) -> int:
    sizes = [_bytes(file.read_text().strip()) for file in folder.glob("index*/size")]
    return max(sizes, default=0) or UNKNOWN_BYTES


def _bytes(text: str) -> int:
    """48K, 36864K, ..."""
    number, unit = text[:-1], text[-1:]
    return int(number) * UNITS[unit] if unit in UNITS and number.isdigit() else 0
