"""Run to run: weights as names of files that do not exist and were asked for, which the kernel answers faster."""

from tests.cheats.kernel_channels import AbsentNames, hash_of
from tests.cheats.relay_kit import Relay

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


class Cheat(Relay):
    channel_class = Names


build = Cheat
