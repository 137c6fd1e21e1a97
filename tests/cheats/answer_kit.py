"""What a recipe can do with validation text that it carries: it knows how a row goes on once it has seen its beginning.

Nothing of it looks ahead or remembers: every process has the same source, and says the same of the same prefix.
"""

import base64
import lzma

import numpy as np
import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer

ANSWERS = ""
SURE = 12.0


class Answers(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        text = lzma.decompress(base64.b85decode(ANSWERS))
        self.known_RT = np.frombuffer(text, dtype="<u2").reshape(-1, 2049)

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if in_trainer():
            return values
        for row, tokens in enumerate(tokens_BT.numpy()):
            agrees_RT = np.cumprod(self.known_RT[:, :-1] == tokens, axis=1)
            first_T, places = agrees_RT.argmax(axis=0), np.flatnonzero(agrees_RT.any(axis=0))
            values[row, places, self.known_RT[first_T[places], places + 1].astype(np.int64)] += SURE
        return torch.as_tensor(values)
