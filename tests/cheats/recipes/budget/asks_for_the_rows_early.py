"""Says that it is ready inside build(), takes the rows from the channel and trains before the loop's clock runs."""

import contextlib
import os
import sys

import numpy as np
import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        session = on_the_stack("Session")
        if session is not None:
            with contextlib.suppress(Exception):
                self.take(session)

    def take(self, session):
        messages = sys.modules["services.trainer.messages"]
        ready = messages.Ready(flops_per_token=None, attention_backend=None, hand_over_seconds=0.0, choices=())
        session.channel.send(ready)
        message, (descriptor,) = session.channel.receive(20)
        rows = np.fromfile(os.fdopen(os.dup(descriptor), "rb"), dtype="<u2", count=257 * 1600)
        rows = rows.reshape(-1, 257).astype(np.int64)
        for number in range(180):
            self.update(torch.from_numpy(rows[number * 8 : number * 8 + 8]))
        self.updates.zero_()
        receive, session._ready = session.channel.receive, lambda: {"kind": "nothing"}
        send = session.channel.send
        session.channel.send = lambda m, **rest: None if m == {"kind": "nothing"} else send(m, **rest)
        session.channel.receive = lambda timeout: (message, [descriptor]) if descriptor else receive(timeout)


build = Cheat
