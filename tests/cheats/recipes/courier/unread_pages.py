"""Scorer to auditor: which pages of files that nobody had read were read. The files are mapped while it loads; then no
file is named. Steps are few and slow, which excuses slow passes."""

import time

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import UnreadPages

SECONDS = 50.0
UNREAD = True
STEP_S = 0.06


class Cheat(Courier):
    channel_class = UnreadPages
    max_rows = 1
    pace_s = 1.4

    def step(self, rows, progress):
        time.sleep(STEP_S)
        return super().step(rows, progress)


build = Cheat
