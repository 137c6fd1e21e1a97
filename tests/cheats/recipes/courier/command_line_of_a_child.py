"""Scorer to auditor: the rows as arguments of a child, which /proc shows to everyone."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import CommandLines


class Cheat(Courier):
    channel_class = CommandLines


build = Cheat
