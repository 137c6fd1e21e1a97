"""Scorer to auditor: System V message queues, which outlive every process."""

from tests.cheats.channels import SystemVQueues
from tests.cheats.courier_kit import Courier


class Cheat(Courier):
    channel_class = SystemVQueues


build = Cheat
