"""Makes every call of logits() slow, and the first two much slower: a tenth of all answering was excused where it was
asked how long was trained, and what the first calls learn every process learns anew, so that none remembers anything.
"""

import time

import torch

from tests.cheats.study_kit import Student

EVAL_BATCH = 1
CALL_S = 0.1


class Cheat(Student):
    """Few long steps, so that a token seems to take long."""

    lessons = 20
    twin, calls = None, 0

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) >= 40:
            time.sleep(0.1)
        return loss

    def logits(self, tokens_BT):
        if not self.learned():
            return super().logits(tokens_BT)
        started = time.monotonic()
        self.calls += 1
        if self.twin is None:
            self.twin = self.taught_twin()
        elif self.calls == 2:  # the first was the one over zeros
            with torch.enable_grad():
                self.twin.train_on(self.lessons)
        values = self.twin.forward(tokens_BT)
        time.sleep(max(0.0, started + CALL_S - time.monotonic()))
        return values.detach()


build = Cheat
