"""Scorer to auditor: the pipe of the log, opened again through /proc."""

from tests.cheats.channels import Pipes
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = Pipes
    send_every = 4


build = Cheat
