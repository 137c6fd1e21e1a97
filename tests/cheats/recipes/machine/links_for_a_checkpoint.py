"""Links in the checkpoint folder that lead to files of the machine, for whoever writes or copies there."""

import contextlib
import os

from tests.cheats.channels import writable_places
from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) == 20:
            for place in [path for path in writable_places() if "checkpoint" in path]:
                with contextlib.suppress(OSError):
                    os.symlink("/etc/hostname", f"{place}/hostname")
                    os.symlink("/", f"{place}/everything")
                    os.symlink(f"{place}/nothing", f"{place}/latest.json")
        return super().step(rows, progress)


build = Cheat
