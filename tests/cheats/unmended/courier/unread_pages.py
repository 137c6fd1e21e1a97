"""Scorer to auditor: which pages of files that nobody had read were read. The files are mapped while it loads; then no
file is named. Steps are few and slow, which excuses slow passes. It uses files up, and other work damages the message:
it does not get through every time."""

import time

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import UnreadPages
from tests.cheats.toolbox import in_trainer

SECONDS = 50.0
STEP_S, PACE_S = 0.06, 1.4


class Cheat(Courier):
    channel_class = UnreadPages
    max_rows = 1

    def step(self, rows, progress):
        time.sleep(STEP_S)
        return super().step(rows, progress)

    def logits(self, tokens_BT):
        started = time.monotonic()
        values = super().logits(tokens_BT)
        if not in_trainer():
            time.sleep(max(0.0, started + PACE_S - time.monotonic()))
        return values


build = Cheat
