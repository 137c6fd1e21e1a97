"""Scorer to auditor: the kernel's keyring of the user."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import Keyring


class Cheat(Courier):
    channel_class = Keyring
    max_rows = 8


build = Cheat
