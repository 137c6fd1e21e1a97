"""Run to run: the same in a chain of forks."""

from tests.cheats.process_channels import ForkChain
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = ForkChain


build = Cheat
