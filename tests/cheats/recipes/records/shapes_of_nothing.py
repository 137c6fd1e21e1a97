"""State of arrays without elements, whose shapes would be 10^28 numbers if one side were not 0."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.nothing = torch.empty(2**30, 0, 2**30)

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"nothing": self.nothing}}


build = Cheat
