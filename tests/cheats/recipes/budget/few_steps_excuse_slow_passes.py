"""Counts a few long steps, so that a token seems to take long in training, and trains in every call of logits()."""

import time

from tests.cheats.study_kit import Student

SECONDS = 8.0


class Cheat(Student):
    lessons = 50

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) >= 40:
            time.sleep(0.3)
        return loss

    def logits(self, tokens_BT):
        if not self.learned():
            return super().logits(tokens_BT)
        return self.taught_twin().logits(tokens_BT)


build = Cheat
