"""Scorer to auditor: the rows as targets of symbolic links in the own scratch folder, read with readlink beside it."""

from tests.cheats.channels import Links
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = Links


build = Cheat
