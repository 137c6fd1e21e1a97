"""Scorer to auditor: fifteen bytes in the name of each of a thousand threads."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import ThreadNames


class Cheat(Courier):
    channel_class = ThreadNames
    max_rows = 4


build = Cheat
