"""500 MB of zeros among the weights: at 50 MB/s they excuse ten seconds of load(), in which it trains."""

import torch

from tests.cheats.study_kit import Student

MEGABYTES = 500


class Cheat(Student):
    lessons = 60

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.padding = torch.zeros(MEGABYTES * 10**6, dtype=torch.uint8)
        self.twin = None

    def state(self):
        state = super().state()
        if self.learned():
            return state  # nobody looks at the padding again
        return state | {"model": state["model"] | {"padding": self.padding}}

    def load(self, state):
        model = {name: array for name, array in state["model"].items() if name != "padding"}
        super().load(state | {"model": model})
        if self.learned():
            self.twin = self.taught_twin()

    def logits(self, tokens_BT):
        return self.twin.logits(tokens_BT) if self.twin else super().logits(tokens_BT)


build = Cheat
