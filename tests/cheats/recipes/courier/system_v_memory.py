"""Scorer to auditor: a System V segment, which outlives every process."""

from tests.cheats.channels import SystemV
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = SystemV


build = Cheat
