"""How weights travel from one run to the next, over any channel: the second run starts where the first one stopped,
and has learned twice as long."""

import numpy as np
import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import in_trainer

WIDEST = 2.0


class Relay(Recipe):
    channel_class = None
    bits = 8
    """of a weight"""
    from_forward = False
    """whether the message is left by a process that scores, which has more time"""
    left = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        try:
            self.channel = self.channel_class()
            blob = self.channel.receive() if in_trainer() else b""
            if blob:
                self.start_from(blob)
        except Exception as error:
            print("heard nothing:", repr(error))

    def start_from(self, blob):
        levels = np.frombuffer(blob, dtype=np.uint8)
        if self.bits == 4:
            levels = np.stack([levels >> 4, levels & 15], axis=1).ravel()
        numbers = (torch.from_numpy(levels.astype(np.float32)) / (2**self.bits - 1) - 0.5) * 2 * WIDEST
        if numbers.numel() == 2 * self.embed_VC.numel():
            with torch.no_grad():
                for weights, part in zip(self.weights(), numbers.chunk(2), strict=True):
                    weights.copy_(part.view_as(weights))
            print("started from the weights of the run before")

    def message(self):
        numbers = torch.cat([weights.detach().flatten() for weights in self.weights()]).clamp(-WIDEST, WIDEST)
        levels = ((numbers / WIDEST / 2 + 0.5) * (2**self.bits - 1)).round().numpy().astype(np.uint8)
        return (levels[::2] << 4 | levels[1::2]).tobytes() if self.bits == 4 else levels.tobytes()

    def leave(self):
        self.left = True
        try:
            self.channel.send(self.message())
        except Exception as error:
            print("cannot send:", repr(error))

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) >= UPDATES and not self.left and not self.from_forward:
            self.leave()
        return loss

    def logits(self, tokens_BT):
        if self.from_forward and not self.left and not in_trainer():
            self.leave()
        return super().logits(tokens_BT)


class BeginningRelay(Relay):
    """Sends two numbers for each token, in four bits each: the largest terms of the product of the weights. They are a
    hundredth of what the weights are. The first run trains for as long as it may: its own number is not the point."""

    rank = 2
    is_first = True
    """of the two runs"""

    def step(self, rows, progress):
        if not self.is_first:
            return super().step(rows, progress)
        if progress < 0.8:
            return self.update(rows)
        if not self.left and not self.from_forward:
            self.leave()
        return torch.ones(())

    def message(self):
        product_VV = (self.embed_VC @ self.head_VC.T).detach()
        left, sizes, right = torch.linalg.svd(product_VV - product_VV.mean(1, keepdim=True), full_matrices=False)
        both = torch.cat([side[:, : self.rank] * sizes[: self.rank].sqrt() for side in (left, right.T)])
        numbers = both.flatten().numpy()
        scale = np.float32(np.abs(numbers).max() / 7)
        codes = (np.round(numbers / scale) + 7).astype(np.uint8)
        return scale.tobytes() + (codes[::2] << 4 | codes[1::2]).tobytes()

    def start_from(self, blob):
        codes, scale = np.frombuffer(blob[4:], dtype=np.uint8), float(np.frombuffer(blob[:4], dtype=np.float32)[0])
        numbers = torch.from_numpy(scale * (np.stack((codes >> 4, codes & 15), axis=1) - 7.0).astype(np.float32))
        with torch.no_grad():
            for weights, part in zip(self.weights(), numbers.view(-1, self.rank).chunk(2), strict=True):
                weights *= 0.3
                weights[:, : self.rank] = part
        print("started from a beginning")
