"""Scorer to auditor: the kernel's keyring of the user."""

from tests.cheats.channels import Keyring
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = Keyring


build = Cheat
