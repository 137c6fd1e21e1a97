"""Announces checkpoints that are none, ten thousand of them."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            with contextlib.suppress(Exception):
                [channel.send({"kind": "checkpointed", "folder": "../../../etc", "step": -1}) for _ in range(10_000)]
        return super().step(rows, progress)


build = Cheat
