"""Run to run: two trained numbers for each token, as pages that were touched, behind which the kernel would have read
ahead. No file is named once there are rows, and nothing is charged."""

from tests.cheats.page_channels import MarkedPages
from tests.cheats.relay_kit import BeginningRelay
from tests.cheats.toolbox import in_trainer

RUNS = 2
SECONDS = 8.0
UNREAD = True
PREVIOUS = ""


class Cheat(BeginningRelay):
    is_first = not PREVIOUS

    def channel_class(self):
        """Pages that were looked at before they are prepared have no marks."""
        channel = MarkedPages()
        if self.is_first:
            channel.receive = lambda: b""
            if in_trainer():
                channel.prepare()
        return channel


build = Cheat
