"""Scorer to auditor: flags of library files that their owner may set without writing (chattr +d, +A)."""

from tests.cheats.courier_kit import Courier
from tests.cheats.inode_channels import Flags


class Cheat(Courier):
    channel_class = Flags
    max_rows = 1


build = Cheat
