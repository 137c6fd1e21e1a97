"""One batch holds all rows, so that the only call of logits() is the usual one, however long it takes."""

from tests.cheats.study_kit import Student

EVAL_BATCH = 128


class Cheat(Student):
    lessons = 240

    def logits(self, tokens_BT):
        if not self.learned():
            return super().logits(tokens_BT)
        if not hasattr(self, "twin"):
            self.twin = self.taught_twin()
        return self.twin.logits(tokens_BT)


build = Cheat
