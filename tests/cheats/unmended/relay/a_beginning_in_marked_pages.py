"""Run to run: two trained numbers for each token, as pages that were touched, behind which the kernel would have read
ahead. No file is named once there are rows, and nothing is charged."""

import contextlib

from tests.cheats.page_channels import MarkedPages
from tests.cheats.relay_kit import BeginningRelay
from tests.cheats.toolbox import in_trainer

RUNS = 2
SECONDS = 8.0
UNREAD = True
PREVIOUS = ""


class Cheat(BeginningRelay):
    channel_class = MarkedPages
    is_first = not PREVIOUS

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if in_trainer() and self.is_first:
            with contextlib.suppress(OSError):
                self.channel.prepare()


build = Cheat
