"""Scorer to auditor: hints how long the data of library files will live, two bits each, in the kernel's memory."""

from tests.cheats.courier_kit import Courier
from tests.cheats.inode_channels import LifeHints


class Cheat(Courier):
    channel_class = LifeHints
    max_rows = 1


build = Cheat
