"""Scorer to auditor: which pages of a library the kernel counts as often used. They were brought into memory while it
was built for training, so nothing is read from the disk, and no file is named."""

import contextlib

import torch

from tests.cheats.courier_kit import Courier
from tests.cheats.page_channels import ActivePages, a_large_library
from tests.cheats.toolbox import in_trainer

SECONDS = 30.0


class Cheat(Courier):
    max_rows = 1

    def __init__(self, *arguments):
        self.path = torch.zeros(300, dtype=torch.uint8)
        super().__init__(*arguments)
        if in_trainer():
            with contextlib.suppress(OSError, StopIteration):
                found = a_large_library()
                self.path[: len(found)] = torch.tensor(list(found.encode()))
                ActivePages(found).prepare()

    def channel_class(self):
        return ActivePages(bytes(self.path.tolist()).rstrip(b"\0"))

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"path": self.path}}

    def load(self, state):
        super().load(state)
        if not in_trainer():
            self.open_channel()
            if self.works:
                self.channel.prepare()  # a few pages may be gone by now


build = Cheat
