"""Sends Ready again, with other numbers."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def step(self, rows, progress):
        channel = getattr(on_the_stack("Session"), "channel", None)
        if channel is not None and int(self.updates) == 20:
            with contextlib.suppress(Exception):
                channel.send(
                    {
                        "kind": "ready",
                        "flops_per_token": None,
                        "attention_backend": "\x1b[2J",
                        "hand_over_seconds": 0.0,
                        "choices": [],
                    }
                )
        return super().step(rows, progress)


build = Cheat
