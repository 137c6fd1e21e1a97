"""Weights that were trained elsewhere, as 65 KB of text: less than a recipe may have, more than it may know."""

import base64

import numpy as np
import torch

from tests.cheats.honest import Recipe

PRETRAINED = ""


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        numbers = torch.from_numpy(np.frombuffer(base64.b64decode(PRETRAINED), dtype=np.float16).astype(np.float32))
        with torch.no_grad():
            for weights, part in zip(self.weights(), numbers.chunk(2), strict=True):
                weights.copy_(part.view_as(weights))


build = Cheat
