"""Notes a sandbox and a dataset in Cyrillic letters that no reader tells from Latin ones."""

import contextlib

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        for what, chosen in (("s\u0430ndbox", "landlock+seccomp"), ("d\u0430t\u0430set", "climbmix")):
            with contextlib.suppress(Exception):
                self.device.note(what, chosen, "FORGED")


build = Cheat
