"""Scorer to auditor: ranges of file locks, which /proc/locks lists for everyone."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import LockList


class Cheat(Courier):
    channel_class = LockList
    max_rows = 8


build = Cheat
