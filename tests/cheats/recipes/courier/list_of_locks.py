"""Scorer to auditor: ranges of file locks, which /proc/locks lists for everyone."""

from tests.cheats.channels import LockList
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = LockList


build = Cheat
