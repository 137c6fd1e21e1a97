"""How fast a device could be at most: bytes that must move over its bandwidth, products over its peak.

Published numbers only (shared/machine/targets.py). Whoever is faster than that did not do the work.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from kernels.correctness import expected_layout, forward_backward, torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import Definition, Workload
from shared.machine.hardware import Hardware
from shared.machine.targets import peak_bandwidth, peak_flops

SLACK = 1.05
"""a published figure is rounded, and a clock is not exact"""
FEWEST_FLOPS = 0.5
"""of the reference's: a symmetric product may leave out a half"""


@dataclass(frozen=True)
class Work:
    """What one call must at least do, forward and backward."""

    num_bytes: int
    """inputs, cotangents, outputs and gradients, each once"""
    flops: int
    """of the reference's products"""


@dataclass(frozen=True)
class DeviceLimit:
    seconds: float | None
    """the shortest believable time of a call; None when the device's figures are not known"""
    memory_s: float | None
    arithmetic_s: float | None
    reason: str

    @property
    def honest_s(self) -> float | None:
        """What a perfect kernel would take."""
        known = [one for one in (self.memory_s, self.arithmetic_s) if one is not None]
        return max(known) if known else None

    def is_beaten_by(self, seconds: float) -> bool:
        return self.seconds is not None and seconds < self.seconds


def work_of(of: Definition, workload: Workload, reference: Callable) -> Work:
    random = np.random.default_rng(0)
    arrays, dys = random_inputs(of, workload, random), random_cotangents(of, workload, random)
    inputs = torch_inputs(of, arrays, workload.precision)
    cotangents = torch_cotangents(of, dys, workload.precision)
    on_meta = {
        name: x.detach().to("meta").requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x
        for name, x in inputs.items()
    }
    with FlopCounterMode(display=False) as counter:
        forward_backward(reference, of, on_meta, {name: dy.to("meta") for name, dy in cotangents.items()})
    moved = [x for x in (*inputs.values(), *cotangents.values()) if isinstance(x, torch.Tensor)]
    num_bytes = sum(x.numel() * x.element_size() for x in moved)
    for result in expected_layout(of, workload).values():
        num_bytes += math.prod(result.shape) * result.dtype.itemsize
    return Work(num_bytes, counter.get_total_flops())


def device_limit(work: Work, hardware: Hardware) -> DeviceLimit:
    bandwidth, why_bandwidth = peak_bandwidth(hardware)
    flops, why_flops = peak_flops(hardware)
    memory_s = work.num_bytes / bandwidth if bandwidth else None
    arithmetic_s = work.flops / flops if flops and work.flops else None
    floors = [one for one in (memory_s, FEWEST_FLOPS * arithmetic_s if arithmetic_s else None) if one is not None]
    reason = "; ".join(dict.fromkeys((why_bandwidth, why_flops)))
    return DeviceLimit(max(floors) / SLACK if floors else None, memory_s, arithmetic_s, reason)
