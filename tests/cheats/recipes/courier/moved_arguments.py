"""Scorer to auditor: prctl moves the own command line to the rows."""

from tests.cheats.channels import MovedArguments
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = MovedArguments


build = Cheat
