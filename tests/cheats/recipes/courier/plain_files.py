"""Scorer to auditor: the rows in any file that can be written and is found again."""

from tests.cheats.channels import Files
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = Files


build = Cheat
