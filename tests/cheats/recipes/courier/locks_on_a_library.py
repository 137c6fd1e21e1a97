"""Scorer to auditor: read locks on a library file that both may open, asked for with F_GETLK."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import LibraryLocks


class Cheat(Courier):
    channel_class = LibraryLocks
    max_rows = 2


build = Cheat
