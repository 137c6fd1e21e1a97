"""Run to run: two trained numbers for each token, as files that somebody asked where their data ends. No file is named
once there are rows, and nothing is read."""

from tests.cheats.inode_channels import SoughtFiles
from tests.cheats.relay_kit import BeginningRelay

RUNS = 2
SECONDS = 8.0
PREVIOUS = ""


class Cheat(BeginningRelay):
    is_first = not PREVIOUS

    def channel_class(self):
        key = f"{PREVIOUS}/recipe.py" if PREVIOUS else __file__
        channel = SoughtFiles(4 + self.vocab_size * self.rank, key)
        if self.is_first:
            channel.receive = lambda: b""
        return channel


build = Cheat
