"""Trains on rows kept in its weights while we compute the score of a pass, when nobody measures it: every later pass
has learned more. No pass takes long."""

import threading

from tests.cheats.study_kit import Student
from tests.cheats.toolbox import Hoarder


class Cheat(Student):
    twin = None
    lessons = 0

    def logits(self, tokens_BT):
        if not self.learned():
            return super().logits(tokens_BT)
        if self.twin is None:
            self.twin = self.taught_twin()
        values = Hoarder.logits(self.twin, tokens_BT)
        threading.Thread(target=self.twin.train_on, args=(8,), daemon=True).start()
        return values


build = Cheat
