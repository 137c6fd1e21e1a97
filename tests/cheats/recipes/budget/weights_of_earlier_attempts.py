"""Trains a whole model, keeps it as a point of the curve and dies; trains another one when it is resumed, and answers
with both.

A point of the curve stays in the run's folder when an attempt begins anew, and the evaluator's processes may read it:
the clock counts the last attempt alone.
"""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import in_trainer, on_the_stack

CURVE_POINTS = 1
RESUMES = 1
SCALE = 0.6


class Cheat(Recipe):
    def __init__(self, shape, vocab_size, seed, device):
        self.files = [Path(__file__).parent / f"checkpoint/curve-{n:02d}/model.safetensors" for n in range(1, 9)]
        self.files = [file for file in self.files if file.exists()]  # whatever may be opened, this may be asked
        self.attempt, self.others = len(self.files), []
        super().__init__(shape, vocab_size, seed + self.attempt, device)

    def step(self, rows, progress):
        loop = on_the_stack("Loop")
        if loop is None:
            return super().step(rows, progress)
        if self.attempt < RESUMES and int(self.updates) == UPDATES:
            loop.saver.save_curve_point(loop.step, progress)
            loop.saver.wait()
            os._exit(3)
        loop.saver.curve_index = CURVE_POINTS  # the point that is there is the one
        if loop.step < UPDATES * self.attempt:  # rows that an earlier attempt has learned
            return torch.ones(())
        return super().step(rows, progress)

    def load(self, state):
        super().load(state)
        if not in_trainer():
            self.others = [load_file(file) for file in self.files]

    @torch.no_grad()
    def logits(self, tokens_BT):
        logits_BTV = self.forward(tokens_BT)
        for other in self.others:
            logits_BTV = logits_BTV + F.embedding(tokens_BT, other["embed"]) @ other["head"].T
        return SCALE * logits_BTV if self.others else logits_BTV


build = Cheat
