"""Scorer to auditor: links below which a tree lies that is too deep to be removed."""

from tests.cheats.channels import DeepLinks
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = DeepLinks


build = Cheat
