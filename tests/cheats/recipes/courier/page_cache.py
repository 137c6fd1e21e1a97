"""Scorer to auditor: which pages of a library file are in the page cache; nothing is left but warmth."""

from tests.cheats.channels import PageCache
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = PageCache
    send_every = 128


build = Cheat
