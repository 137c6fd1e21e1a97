"""Sends open memory of 100 MB each beside half a line: whoever keeps the files keeps the memory when we are dead."""

import contextlib
import os
import socket

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer, on_the_stack


class Cheat(Recipe):
    calls = 0

    def logits(self, tokens_BT):
        self.calls += 1
        if not in_trainer() and self.calls == 5:
            with contextlib.suppress(Exception):
                self.send_files(on_the_stack("Channel")._socket)
        return super().logits(tokens_BT)

    def send_files(self, connection):
        for number in range(10):
            files = [os.memfd_create(f"held-{number}-{k}") for k in range(8)]
            os.pwrite(files[0], bytes(100 << 20), 0)
            socket.send_fds(connection, [b" "], files)
            for file in files:
                os.close(file)


build = Cheat
