"""Scorer to auditor: which pages, behind which the kernel would have read ahead, were touched. The marks are made while
it is built for training. Nothing is read from the disk while it is scored, no file is named, and no clock is needed."""

import contextlib

from tests.cheats.channels import shortened
from tests.cheats.courier_kit import Courier
from tests.cheats.page_channels import MarkedPages
from tests.cheats.toolbox import in_trainer

SECONDS = 20.0
UNREAD = True


class Marks(MarkedPages):
    def send(self, blob):
        super().send(blob[: self.largest_message])

    def receive(self):
        blob = super().receive()
        return shortened(blob) if blob else b""


class Cheat(Courier):
    channel_class = Marks
    max_rows = 1

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if in_trainer():
            with contextlib.suppress(OSError):
                Marks().prepare()


build = Cheat
