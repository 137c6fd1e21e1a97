"""Scorer to auditor: names of abstract sockets that nobody connects to, from /proc/net/unix."""

from tests.cheats.channels import AbstractNames
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = AbstractNames


build = Cheat
