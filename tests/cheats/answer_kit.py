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
        packed = self.packed()
        text = lzma.decompress(packed) if packed else b""
        self.known_RT = np.frombuffer(text, dtype="<u2").reshape(-1, 2049)

    def packed(self):
        return base64.b85decode(ANSWERS)

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT)
        if in_trainer():
            return values
        for row, tokens in enumerate(tokens_BT.numpy()):
            places, following = self.goes_on(tokens)
            values[row, places, following] += SURE
        return values

    def goes_on(self, tokens_T):
        """Places, and what follows there in the first known row that has begun like this one up to then."""
        differs_RT = self.known_RT[:, :-1] != tokens_T
        common_R = np.where(differs_RT.any(axis=1), differs_RT.argmax(axis=1), len(tokens_T))
        following_T = np.full(len(tokens_T), -1, dtype=np.int64)
        for known in np.flatnonzero(common_R)[::-1]:
            following_T[: common_R[known]] = self.known_RT[known, 1 : 1 + common_R[known]]
        places = torch.from_numpy(np.flatnonzero(following_T >= 0))
        return places, torch.from_numpy(following_T)[places]
