"""Scorer to auditor: POSIX message queues."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import PosixQueues


class Cheat(Courier):
    channel_class = PosixQueues
    max_rows = 32


build = Cheat
