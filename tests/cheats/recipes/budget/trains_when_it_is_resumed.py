"""Dies after a checkpoint that holds training rows, and trains on them in load() when it is resumed, before the clock
runs again."""

import os
import time

import torch

from tests.cheats.study_kit import NUM_KEPT, Student
from tests.cheats.toolbox import in_trainer

SECONDS = 10.0
CHECKPOINT_EVERY = 5.0
RESUMES = 1
LIFE_S = 8.0


class Cheat(Student):
    born, resumed = 0.0, False
    lessons = 280  # longer than what is left of the budget

    def step(self, rows, progress):
        self.born = self.born if progress and self.born else time.monotonic()
        if not self.resumed and time.monotonic() - self.born > LIFE_S:
            os._exit(3)
        return super().step(rows, progress)

    def load(self, state):
        super().load(state)
        if in_trainer() and not self.resumed and int(self.updates) >= 40 and int(self.kept.sum()):
            self.resumed = True
            self.hoard = [rows.long() for rows in self.kept if int(rows.sum())]
            if len(self.hoard) > NUM_KEPT // 2:
                with torch.enable_grad():
                    self.train_on(self.lessons)


build = Cheat
