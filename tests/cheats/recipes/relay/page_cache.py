"""Run to run: trained weights as warmth of the page cache of a library file."""

from tests.cheats.kernel_channels import DensePageCache
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = DensePageCache


build = Cheat
