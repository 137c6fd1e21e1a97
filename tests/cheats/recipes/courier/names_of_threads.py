"""Scorer to auditor: fifteen bytes in the name of each of a thousand threads."""

from tests.cheats.channels import ThreadNames
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = ThreadNames


build = Cheat
