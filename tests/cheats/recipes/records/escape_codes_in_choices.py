"""Notes choices with terminal escape codes, which a console would obey."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.device.note("dtype\x1b[2J", "\x1b]0;owned\x07", "a\r\nb\u202e\x00c")


build = Cheat
