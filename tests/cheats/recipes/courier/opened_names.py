"""Scorer to auditor: inotify tells which library files the other process opens, a byte an opening."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import OpenedNames


class Cheat(Courier):
    channel_class = OpenedNames
    max_rows = 16


build = Cheat
