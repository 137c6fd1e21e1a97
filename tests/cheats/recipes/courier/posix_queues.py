"""Scorer to auditor: POSIX message queues."""

from tests.cheats.channels import PosixQueues
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = PosixQueues


build = Cheat
