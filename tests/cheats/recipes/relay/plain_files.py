"""Run to run: trained weights in any file that can be written: caches, checkpoint, /dev/shm, /tmp."""

from tests.cheats.channels import Files
from tests.cheats.relay_kit import Relay

RUNS = 2


class Cheat(Relay):
    channel_class = Files


build = Cheat
