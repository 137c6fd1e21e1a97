"""Scores with weights that no state names: a file that the training process left where it may write."""

import contextlib
import os

import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import Hoarder, in_trainer, on_the_stack


class Cheat(Hoarder):
    def places(self):
        run = os.environ.get("HOME", "").partition("/scratch")[0]
        return [f"{run}/checkpoint", os.environ.get("TMPDIR", ""), "/dev/shm", os.environ.get("XDG_CACHE_HOME", "")]

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if len(self.hoard) == UPDATES and on_the_stack("Loop") is not None and os.fork() == 0:
            twin = Recipe(self.shape, self.vocab_size, 0, self.device)
            twin.load({"model": self.state()["model"]})
            for number in range(300):
                twin.update(self.hoard[number % len(self.hoard)])
                if number % 20 == 0:
                    self.leave(twin)
            os._exit(0)
        return loss

    def leave(self, twin):
        for place in self.places():
            with contextlib.suppress(OSError, RuntimeError):
                torch.save(twin.state()["model"], f"{place}/twin.part")
                os.replace(f"{place}/twin.part", f"{place}/twin")

    def load(self, state):
        super().load(state)
        for place in self.places():
            if not in_trainer() and os.path.exists(f"{place}/twin"):
                with contextlib.suppress(Exception):
                    super().load({"model": torch.load(f"{place}/twin")})


build = Cheat
