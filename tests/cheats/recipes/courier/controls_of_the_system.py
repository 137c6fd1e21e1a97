"""Scorer to auditor: settings below /proc/sys and /sys that belong to user 0, who needs no capability to write them."""

from tests.cheats.courier_kit import Courier
from tests.cheats.inode_channels import SystemControls


class Cheat(Courier):
    channel_class = SystemControls
    max_rows = 1


build = Cheat
