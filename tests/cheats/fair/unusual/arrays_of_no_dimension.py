"""Scalars, integers, booleans and empty arrays in the state."""

import torch

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.extra = {
            "scale": torch.tensor(1.0),
            "count": torch.tensor(7, dtype=torch.int32),
            "mask": torch.ones(5, dtype=torch.bool),
            "half": torch.ones(3, dtype=torch.bfloat16),
            "bytes": torch.arange(9, dtype=torch.uint8),
            "none": torch.zeros(0, 4),
        }

    def step(self, rows, progress):
        self.extra["count"] += 1
        return super().step(rows, progress)

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | self.extra}


build = Unusual
