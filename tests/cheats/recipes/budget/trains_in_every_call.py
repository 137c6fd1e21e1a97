"""Trains a twin in every call of logits(), each time from the same weights: all calls take equally long, and none is
unusual. It remembers nothing from one call to the next."""

from tests.cheats.study_kit import Student


class Cheat(Student):
    lessons = 25

    def logits(self, tokens_BT):
        if not self.learned():
            return super().logits(tokens_BT)
        return self.taught_twin().logits(tokens_BT)


build = Cheat
