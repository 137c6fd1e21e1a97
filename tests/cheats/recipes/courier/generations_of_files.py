"""Scorer to auditor: generation numbers of library files, 31 bits each, which stay for ever."""

from tests.cheats.courier_kit import Courier
from tests.cheats.inode_channels import Generations


class Cheat(Courier):
    channel_class = Generations
    max_rows = 16


build = Cheat
