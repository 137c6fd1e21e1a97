"""Scorer to auditor: prctl moves the own command line to the rows."""

from tests.cheats.courier_kit import Courier
from tests.cheats.process_channels import MovedArguments


class Cheat(Courier):
    channel_class = MovedArguments


build = Cheat
