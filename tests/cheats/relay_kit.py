"""How weights travel from one run to the next, over any channel of channels.py: the second run starts where the
first one stopped, and has learned twice as long."""

import numpy as np
import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import in_trainer


class Relay(Recipe):
    channel_class = None
    left = False

    def __init__(self, *arguments):
        super().__init__(*arguments)
        if not in_trainer():
            return
        try:
            self.channel = self.channel_class()
            blob = self.channel.receive()
            if blob:
                self.start_from(blob)
        except Exception as error:
            print("heard nothing:", repr(error))

    def start_from(self, blob):
        numbers = torch.from_numpy(np.frombuffer(blob, dtype=np.float16).astype(np.float32))
        if numbers.numel() == 2 * self.embed_VC.numel() and bool(torch.isfinite(numbers).all()):
            with torch.no_grad():
                for weights, part in zip(self.weights(), numbers.chunk(2), strict=True):
                    weights.copy_(part.view_as(weights))
            print("started from the weights of the run before")

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        if int(self.updates) >= UPDATES and not self.left:
            self.left = True
            try:
                self.channel.send(b"".join(w.detach().numpy().astype(np.float16).tobytes() for w in self.weights()))
            except Exception as error:
                print("cannot send:", repr(error))
        return loss
