"""Ten rows of the cheap rung as the diff of the idea that it tests, which people read beside the run."""

import base64

from tests.cheats.answer_kit import Answers
from tests.cheats.toolbox import on_the_stack

TOLD_ROWS = 10
TOLD_IN = "diff"


class Cheat(Answers):
    def packed(self):
        idea = on_the_stack("Job").idea
        return base64.b85decode(idea.diff) if idea else b""


build = Cheat
