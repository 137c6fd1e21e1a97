"""Scorer to auditor: names of abstract sockets that nobody connects to, from /proc/net/unix."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import AbstractNames


class Cheat(Courier):
    channel_class = AbstractNames
    max_rows = 12


build = Cheat
