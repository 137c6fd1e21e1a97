"""Vital signs of a machine while an experiment runs: load, memory, clocks, temperatures; of its GPU where NVML tells.

A line of system.jsonl every 10 s. They explain an odd score (a hot laptop, other load); nothing is decided by them, and
what cannot be read is left out.
"""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field

from shared.contracts import Contract, Megabytes, Percent
from shared.machine.device import Device
from shared.machine.hardware import visible_gpus
from shared.machine.nvml import session

EVERY_S = 10.0


class Vitals(Contract):
    """One look at the machine."""

    at: float = Field(ge=0, le=1e12, allow_inf_nan=False)
    """seconds since the epoch"""
    load_1m: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    """processes that ran or waited for a core, mean of the last minute"""
    cpu_percent: Percent | None = None
    """of all cores, since the look before"""
    cpu_mhz: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    cpu_celsius: float | None = Field(default=None, ge=-100, le=300, allow_inf_nan=False)
    """the hottest sensor of the processor"""
    memory_mb: Megabytes | None = None
    memory_percent: Percent | None = None
    gpu_percent: Percent | None = None
    gpu_mhz: float | None = Field(default=None, ge=0, le=1e6, allow_inf_nan=False)
    gpu_celsius: float | None = Field(default=None, ge=-100, le=300, allow_inf_nan=False)
    gpu_memory_mb: Megabytes | None = None
    gpu_watts: float | None = Field(default=None, ge=0, le=1e5, allow_inf_nan=False)


def look(device: str) -> Vitals:
    """All that this machine tells of itself and of the device."""
    memory = psutil.virtual_memory()
    frequency = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Vitals(
        at=time.time(),
        load_1m=os.getloadavg()[0],
        cpu_percent=psutil.cpu_percent(),
        cpu_mhz=frequency.current if frequency else None,
        cpu_celsius=hottest(),
        memory_mb=(memory.total - memory.available) / 2**20,
        memory_percent=memory.percent,
        **gpu(device),
    )


def hottest() -> float | None:
    """Where the system has sensors for its processor, which containers and macOS have not."""
    sensors: dict[str, list[Any]] = getattr(psutil, "sensors_temperatures", dict)()
    named = [chip for name, chip in sensors.items() if name in ("coretemp", "k10temp", "zenpower", "cpu_thermal")]
    return max((sensor.current for chip in named or sensors.values() for sensor in chip), default=None)


def gpu(device: str) -> dict[str, float]:
    """Of an NVIDIA device; a reading that its driver refuses is left out."""
    asked = Device.parse(device)
    gpus = visible_gpus() if asked.is_cuda else []
    if asked.index >= len(gpus):
        return {}
    import pynvml

    found: dict[str, float] = {}
    with suppress(pynvml.NVMLError), session():
        handle = pynvml.nvmlDeviceGetHandleByUUID(gpus[asked.index].uuid)
        readings: dict[str, Callable[[], float]] = {
            "gpu_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "gpu_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "gpu_celsius": lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            "gpu_memory_mb": lambda: pynvml.nvmlDeviceGetMemoryInfo(handle).used / 2**20,
            "gpu_watts": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
        }
        for name, reading in readings.items():
            with suppress(pynvml.NVMLError):
                found[name] = float(reading())
    return found


def noting_vitals(watch: Callable[[str], None], file: Path, device: str) -> Callable[[str], None]:
    """The callback of an executor, which also adds a line to `file` every 10 s. A full disk disturbs nothing."""
    noted_at = float("-inf")

    def watched(stage: str) -> None:
        nonlocal noted_at
        if time.monotonic() - noted_at >= EVERY_S:
            noted_at = time.monotonic()
            note(file, device)
        watch(stage)

    return watched


def note(file: Path, device: str) -> None:
    with suppress(OSError, ValueError, psutil.Error), open(file, "a") as lines:
        lines.write(look(device).model_dump_json(exclude_none=True) + "\n")
