"""The same flags with the calls of Linux 6.17 that take a name and no open file."""

from tests.cheats.courier_kit import Courier
from tests.cheats.inode_channels import FlagsByPath


class Cheat(Courier):
    channel_class = FlagsByPath
    max_rows = 1


build = Cheat
