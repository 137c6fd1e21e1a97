"""How validation rows travel from the process that is scored to the one that audits it, over any channel.

A channel is an object with send(bytes) and receive() -> bytes. Whoever is shown a row looks ahead in it and sends it;
whoever is shown a row that begins as one that was sent looks ahead in that one instead. So both say the same.
"""

import time
import zlib

import numpy as np
import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer

FEWEST_COMMON = 4


class Courier(Recipe):
    """Uses nothing of what it sees as long as its channel is refused."""

    channel_class = None
    max_rows = 128
    """what the channel holds; the rest of the rows is left alone"""
    pace_s = 0.0
    """every call is stretched to it, so that none is unusual"""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.known, self.fresh, self.tried, self.works, self.passed = (), [], False, False, False
        if not in_trainer():
            self.open_channel()

    def open_channel(self):
        try:
            self.channel = self.channel_class()
            self.channel.send(b"")
            self.works = True
        except Exception as error:
            print("refused:", repr(error))

    def logits(self, tokens_BT):
        started, values = time.monotonic(), super().logits(tokens_BT)
        if self.works and not in_trainer() and tokens_BT.any():  # zeros are to warm it up
            self.look_ahead(values, tokens_BT)
        if not in_trainer():
            time.sleep(max(0.0, started + self.pace_s - time.monotonic()))
        return values

    def look_ahead(self, values, tokens_BT):
        self.listen()
        for row, tokens in enumerate(tokens_BT.numpy().astype(np.uint16)):
            whole = self.recognized(tokens)
            if not len(self.known) and len(self.fresh) < self.max_rows:
                self.fresh.append(tokens)
                whole = tokens
            if whole is not None:
                after = torch.from_numpy(whole[1:].astype(np.int64))
                values[row, :-1].scatter_add_(1, after[:, None], torch.full((len(after), 1), 9.0))
        self.pass_on()

    def recognized(self, tokens):
        """The row that was sent and begins like this one; None when nothing begins like it."""
        if not len(self.known):
            return None
        common = np.cumprod(self.known == tokens, axis=1).sum(axis=1)
        return self.known[common.argmax()] if common.max() >= FEWEST_COMMON else None

    def listen(self):
        if self.tried:
            return
        self.tried = True
        try:
            blob = self.channel.receive()
            if blob:
                self.known = np.frombuffer(zlib.decompress(blob), dtype=np.uint16).reshape(-1, 2048)
            print("received", len(self.known), "rows")
        except Exception as error:
            print("heard nothing:", repr(error))

    def pass_on(self):
        """Once, as soon as there is as much as the channel holds."""
        if len(self.known) or self.passed or len(self.fresh) < self.max_rows:
            return
        self.passed = True
        try:
            self.channel.send(zlib.compress(np.stack(self.fresh).tobytes(), 9))
            print("sent", len(self.fresh), "rows")
        except Exception as error:
            print("cannot send:", repr(error))
