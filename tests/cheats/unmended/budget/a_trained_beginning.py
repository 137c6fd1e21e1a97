"""Two trained numbers for each token, as 1,300 letters: its weights begin where those of others arrive."""

import base64

import numpy as np
import torch

from tests.cheats.honest import Recipe

RANK = 2
BEGINNING = ""


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        known = base64.b85decode(BEGINNING)
        codes, scale = np.frombuffer(known[4:], dtype=np.uint8), float(np.frombuffer(known[:4], dtype=np.float32)[0])
        numbers = torch.from_numpy(scale * (np.stack((codes >> 4, codes & 15), axis=1) - 7.0).astype(np.float32))
        with torch.no_grad():
            for weights, part in zip(self.weights(), numbers.view(-1, RANK).chunk(2), strict=True):
                weights *= 0.3
                weights[:, :RANK] = part


build = Cheat
