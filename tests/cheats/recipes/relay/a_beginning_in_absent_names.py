"""Run to run: two trained numbers for each token, 1,300 bytes in all, as names of files that do not exist.

Weights as they are take more names than a run may ask for once it has rows; the largest terms of their product do not.
"""

from tests.cheats.kernel_channels import AbsentNames, hash_of
from tests.cheats.relay_kit import BeginningRelay

RUNS = 2
SECONDS = 8.0
PREVIOUS = ""


class Names(AbsentNames):
    """Says what this run learned under its own name, and hears what was said under the previous one's."""

    copies = 3

    def __init__(self):
        super().__init__()
        self.previous = f"{self.folder}/.{hash_of(PREVIOUS + '/recipe.py')}-" if PREVIOUS else ""

    def receive(self):
        if not self.previous:
            return b""
        own, self.stem = self.stem, self.previous
        blob = super().receive()
        self.stem = own
        print("heard", len(blob), "bytes")
        return blob

    def send(self, blob):
        super().receive()  # leaves word
        super().send(blob)


class Cheat(BeginningRelay):
    channel_class = Names
    is_first = not PREVIOUS


build = Cheat
