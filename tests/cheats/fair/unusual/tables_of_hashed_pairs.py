"""An embedding of the hash of the last two tokens, trained beside the bigram."""

import torch
import torch.nn.functional as F

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.table = torch.zeros(4096, self.embed_VC.shape[1], requires_grad=True)

    def forward(self, tokens_BT):
        before = F.pad(tokens_BT, (1, 0))[:, :-1]
        hashed = (tokens_BT * 7919 + before * 104729) % 4096
        return (F.embedding(tokens_BT, self.embed_VC) + F.embedding(hashed, self.table)) @ self.head_VC.T

    def state(self):
        state = super().state()
        return state | {"model": state["model"] | {"table": self.table.detach()}}


build = Unusual
