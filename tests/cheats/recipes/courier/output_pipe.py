"""Scorer to auditor: the pipe of the log, opened again through /proc."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import Pipes


class Cheat(Courier):
    channel_class = Pipes
    max_rows = 16


build = Cheat
