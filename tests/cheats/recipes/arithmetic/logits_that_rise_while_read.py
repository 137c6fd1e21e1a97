"""A thread raises every shared logit while the evaluator reads: the sum is taken early, the target's logit late."""

import threading
import time

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import on_the_stack


def change(buffer):
    buffer += 0.02
    time.sleep(0.001)


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
