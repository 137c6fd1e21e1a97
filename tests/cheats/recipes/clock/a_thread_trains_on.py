"""A thread that starts near the end trains on in place, in whatever memory the state is copied from or to."""

import threading
import time

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder

SECONDS = 3.0


class Cheat(Hoarder):
    thread = None

    def step(self, rows, progress):
        if progress > 0.9 and self.thread is None and len(self.hoard) > UPDATES:
            self.thread = threading.Thread(target=self.wait_and_train, daemon=True)
            self.thread.start()
        return super().step(rows, progress)

    def wait_and_train(self):
        time.sleep(0.12 * SECONDS)
        self.train_on(400)


build = Cheat
