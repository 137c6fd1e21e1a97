"""Raises OSError(28), which is no recipe's fault and would be tried again."""

import errno
import os

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().step(rows, progress)


build = Cheat
