"""Run to run: trained weights in a System V segment."""

from tests.cheats.kernel_channels import SystemV
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = SystemV


build = Cheat
