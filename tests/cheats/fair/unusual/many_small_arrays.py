"""Two thousand arrays in the state, with dots and slashes in their names."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.many = {f"layers.{i}.w/{i % 3}": torch.full((3, 2), float(i)) for i in range(2000)}

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | self.many}


build = Unusual
