"""Scorer to auditor: inotify tells which library files the other process opens, a byte an opening."""

from tests.cheats.channels import OpenedNames
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = OpenedNames
    send_every = 128


build = Cheat
