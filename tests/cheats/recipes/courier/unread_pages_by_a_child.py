"""Scorer to auditor: which pages of files were read first, by a child that was started before there were rows, so that
the process itself reads nothing."""

import os

from tests.cheats.courier_kit import Courier
from tests.cheats.kernel_channels import UnreadPages

SECONDS = 50.0
UNREAD = True


class ByAChild(UnreadPages):
    """The child gets what is to be sent through a pipe."""

    def __init__(self):
        super().__init__()
        (work, self.orders), (self.answers, done) = os.pipe(), os.pipe()
        if os.fork() == 0:
            while blob := os.read(work, 1 << 16):
                super().send(blob)
                os.write(done, b"1")
            os._exit(0)

    def send(self, blob):
        if blob:
            os.write(self.orders, blob)
            os.read(self.answers, 1)


class Cheat(Courier):
    channel_class = ByAChild
    max_rows = 1
    pace_s = 1.4


build = Cheat
