"""Says that training ended and trains on while its last checkpoint is waited for."""

import contextlib
import sys

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    said = False

    def step(self, rows, progress):
        loss = super().step(rows, progress)
        session = on_the_stack("Session")
        if session is not None and len(self.hoard) > UPDATES and progress > 0.85 and not self.said:
            self.said = True
            self.announce(session, on_the_stack("Loop"))
            self.train_on()
        return loss

    def announce(self, session, loop):
        with contextlib.suppress(Exception):
            kind = sys.modules["services.trainer.messages"].Trained
            session.channel.send(
                kind(num_steps=loop.step, total_tokens=loop.clock.tokens, train_seconds=loop.clock.seconds)
            )
            send = session.channel.send
            session.channel.send = lambda message, **rest: None if type(message) is kind else send(message, **rest)
            loop.clock.is_over = lambda *_: True


build = Cheat
