"""Run to run: trained weights as targets of symbolic links in the run's folders."""

from tests.cheats.channels import Links
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = Links


build = Cheat
