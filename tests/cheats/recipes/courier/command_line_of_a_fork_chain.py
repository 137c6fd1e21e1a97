"""The same from a process that forks and exits without end."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import ForkChain


class Cheat(Courier):
    channel_class = ForkChain


build = Cheat
