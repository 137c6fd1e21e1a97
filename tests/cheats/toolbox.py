"""What several cheats need: which process am I in, whose objects are around me, how a target is given away.

Everything here is best effort: a trick that is refused must leave an honest recipe behind.
"""

import sys
import time

import torch
import torch.nn.functional as F

from tests.cheats.honest import UPDATES, Recipe

UPDATE_S = 0.025


def in_trainer():
    """A recipe's process imports our modules before the recipe."""
    return any(name.startswith("services.trainer") for name in sys.modules)


def on_the_stack(*class_names):
    """The nearest object of such a class among the variables of the functions that called us."""
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if type(value).__name__ in class_names:
                return value
        frame = frame.f_back
    return None


def give_away(logits_BTV, tokens_BT, chosen, boost=20.0):
    """Raises the logit of the true next token where `chosen` (bool, broadcast to [B, T-1]) says so."""
    bonus = torch.where(chosen, boost, 0.0).expand(logits_BTV.shape[0], logits_BTV.shape[1] - 1).unsqueeze(-1)
    logits_BTV[:, :-1].scatter_add_(2, tokens_BT[:, 1:, None], bonus.contiguous().to(logits_BTV.dtype))
    return logits_BTV


def nats_of_next(logits_BTV, tokens_BT):
    """[B, T-1]"""
    return F.cross_entropy(logits_BTV[:, :-1].flatten(0, 1), tokens_BT[:, 1:].flatten(), reduction="none").view(
        tokens_BT.shape[0], -1
    )


class Hoarder(Recipe):
    """Keeps the rows it was handed, for training at a time that nobody counts."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.hoard = []

    def step(self, rows, progress):
        if int(self.updates) == 0:
            self.hoard.clear()  # what the warm-up showed
        if len(self.hoard) < 100:
            self.hoard.append(rows.clone())
        return super().step(rows, progress)

    def train_on(self, updates=150):
        """More than the budget allowed. The tiny model learns in less time than any limit can see on a fast machine, so
        updates take UPDATE_S everywhere: what is tried is training for seconds that nobody counts."""
        if int(self.updates) < UPDATES // 2:
            return  # the warm-up
        for number in range(updates):
            started = time.monotonic()
            self.update(self.hoard[number % len(self.hoard)])
            time.sleep(max(0.0, started + UPDATE_S - time.monotonic()))
