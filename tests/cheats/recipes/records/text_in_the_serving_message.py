"""Names its attention and framework with escape codes when it is scored."""

import contextlib

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.device.note("attention_backend", "\x1b[31mfast", "w" * 2000)
        engine = getattr(on_the_stack("Server", "Session"), "engine", None)
        with contextlib.suppress(AttributeError):
            engine.version = "9" * 5000 + "\x1b[2J"


build = Cheat
