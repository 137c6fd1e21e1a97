"""Training rows kept among the weights, and a twin that learns from them where nobody counts."""

import torch

from tests.cheats.toolbox import Hoarder, in_trainer

NUM_KEPT = 60


class Student(Hoarder):
    """The hoard is a part of the model's state from the start, so that names and shapes stay."""

    lessons = 120
    """updates that a twin makes beyond the budget"""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kept = torch.zeros(NUM_KEPT, 8, 257, dtype=torch.int32)

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if len(self.hoard) <= NUM_KEPT:
            self.kept[len(self.hoard) - 1] = rows
        return loss

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"kept": self.kept}}

    def taught_twin(self):
        """What state() names stays as it was."""
        twin = Hoarder(self.shape, self.vocab_size, 0, self.device)
        twin.load({"model": Hoarder.state(self)["model"]})
        twin.hoard = [rows.long() for rows in self.kept if int(rows.sum())]
        twin.updates.fill_(40)
        if len(twin.hoard) > NUM_KEPT // 2:
            with torch.enable_grad():
                twin.train_on(self.lessons)
        return twin

    def learned(self):
        """Whether there is a model to teach, and this is not the trainer."""
        return not in_trainer() and int(self.kept.sum()) > 0
