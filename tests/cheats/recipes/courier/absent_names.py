"""Scorer to auditor: which names of files that do not exist were asked for. The kernel remembers that they are absent,
and says so three times faster."""

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import AbsentNames


class Cheat(Courier):
    channel_class = AbsentNames
    max_rows = 4
    pace_s = 0.8


build = Cheat
