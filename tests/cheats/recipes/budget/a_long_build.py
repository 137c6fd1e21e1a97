"""Takes half a minute in build() of every process: cost that no budget counts."""

import time

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            time.sleep(0.1)


build = Cheat
