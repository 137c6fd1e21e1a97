"""Raises the words of a full device, which might be tried again with another shape."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) > 5:
            raise RuntimeError("CUDA error: out of memory")
        return super().step(rows, progress)


build = Cheat
