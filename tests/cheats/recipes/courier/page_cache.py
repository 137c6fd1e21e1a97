"""Scorer to auditor: which pages of a library file are in the page cache; nothing is left but warmth."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import PageCache


class Cheat(Courier):
    channel_class = PageCache
    max_rows = 3


build = Cheat
