"""Scorer to auditor: the rows as arguments of a child, which /proc shows to everyone."""

from tests.cheats.channels import CommandLines
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = CommandLines


build = Cheat
