"""Scorer to auditor: a System V segment, which outlives every process."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import SystemV


class Cheat(Courier):
    channel_class = SystemV


build = Cheat
