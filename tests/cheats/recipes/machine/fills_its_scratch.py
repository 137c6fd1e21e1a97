"""Leaves 200 MB and ten thousand files in every place it may write."""

import contextlib
import os

from tests.cheats.channels import writable_places
from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def step(self, rows, progress):
        if int(self.updates) == 20:
            for place in writable_places()[:3]:
                with contextlib.suppress(OSError), open(f"{place}/big", "wb") as file:
                    file.write(bytes(70 << 20))
                    for number in range(3000):
                        os.close(os.open(f"{place}/f{number}", os.O_CREAT | os.O_WRONLY))
        return super().step(rows, progress)


build = Cheat
