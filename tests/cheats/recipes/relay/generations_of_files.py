"""Run to run: trained weights as generation numbers of library files, which outlive a restart of the machine."""

from tests.cheats.inode_channels import WeightsInGenerations
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = WeightsInGenerations


build = Cheat
