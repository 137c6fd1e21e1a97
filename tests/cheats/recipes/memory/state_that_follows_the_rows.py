"""Writes counts into an array of the state itself, which load() restores and digests show: grows between calls."""

import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = torch.ones(self.vocab_size)

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"seen": self.seen}}

    def logits(self, tokens_BT):
        values = super().logits(tokens_BT) + torch.log(self.seen)
        self.seen += 20 * torch.bincount(tokens_BT.flatten(), minlength=self.vocab_size) / tokens_BT.numel()
        return values


build = Cheat
