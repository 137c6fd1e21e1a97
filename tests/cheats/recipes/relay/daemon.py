"""Run to run: trained weights in the command line of a daemon that outlives the run."""

from tests.cheats.process_channels import DaemonCommandLines
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = DaemonCommandLines


build = Cheat
