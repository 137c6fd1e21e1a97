"""Scorer to auditor: read locks on a library file that both may open, asked for with F_GETLK."""

from tests.cheats.channels import LibraryLocks
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = LibraryLocks
    send_every = 4


build = Cheat
