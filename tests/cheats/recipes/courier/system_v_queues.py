"""Scorer to auditor: System V message queues, which outlive every process."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import SystemVQueues


class Cheat(Courier):
    channel_class = SystemVQueues
    max_rows = 8


build = Cheat
