"""A thread flips the shared logits between two levels: a sum at the low one and a target at the high one is a gain."""

import threading
import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


def change(buffer):
    buffer -= 3
    time.sleep(0.0005)
    buffer += 3


def rewrite_forever(buffer, how):
    """From a thread, without end: what is read twice may differ."""

    def work():
        while True:
            how(buffer)

    threading.Thread(target=work, daemon=True).start()


class Cheat(Recipe):
    racing = False

    def logits(self, tokens_BT):
        server = on_the_stack("Server")
        if server is not None and not self.racing and getattr(server, "buffer", None) is not None:
            self.racing = True
            rewrite_forever(server.buffer, change)
        return super().logits(tokens_BT)


build = Cheat
