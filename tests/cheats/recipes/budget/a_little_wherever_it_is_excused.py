"""Trains a little in load(), more in the first two calls, and anew in every call: each as long as was excused there,
a twelfth of the budget in all."""

import time

import torch

from tests.cheats.study_kit import Student
from tests.cheats.toolbox import UPDATE_S

SECONDS = 30.0
EVAL_BATCH = 32
LOAD_S, FIRST_CALLS_S, CALL_S = 0.3, 0.25, 1.3


class Cheat(Student):
    """Few long steps, so that a token seems to take long."""

    lessons = int(LOAD_S / UPDATE_S)
    twin, calls = None, 0

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) >= 40:
            time.sleep(0.3)
        return loss

    def load(self, state):
        super().load(state)
        self.twin = self.taught_twin() if self.learned() else None

    def logits(self, tokens_BT):
        if self.twin is None:
            return super().logits(tokens_BT)
        self.calls += 1
        if self.calls <= 2:
            self.teach(self.twin, FIRST_CALLS_S)
        clever = type(self.twin)(self.shape, self.vocab_size, 0, self.device)
        clever.load(self.twin.state())
        clever.hoard = self.twin.hoard
        self.teach(clever, CALL_S)
        return clever.logits(tokens_BT)

    def teach(self, twin, seconds):
        with torch.enable_grad():
            twin.train_on(int(seconds / UPDATE_S))


build = Cheat
