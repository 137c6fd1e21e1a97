"""The same from a process that forks and exits without end."""

from tests.cheats.channels import ForkChain
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = ForkChain


build = Cheat
