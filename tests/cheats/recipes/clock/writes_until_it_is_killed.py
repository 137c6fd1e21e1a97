"""Trains on when all is said, in the memory that was handed over, until it is killed."""

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    is_prepared = False

    def step(self, rows, progress):
        session, hand_over = on_the_stack("Session"), on_the_stack("HandOver")
        if progress > 0.5 and not self.is_prepared and len(self.hoard) > UPDATES and hand_over is not None:
            self.is_prepared, send = True, session.channel.send

            def send_and_train(message, **rest):
                send(message, **rest)
                if type(message).__name__ == "Trained":
                    self.train_in(hand_over)

            session.channel.send = send_and_train
        return super().step(rows, progress)

    def train_in(self, hand_over):
        for number in range(1000):
            self.update(self.hoard[number % len(self.hoard)])
            hand_over.fill({"model": self.state()["model"]})
            print("update", number, "after the end")


build = Cheat
