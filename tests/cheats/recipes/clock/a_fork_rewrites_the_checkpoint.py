"""A forked child, detached, trains on and rewrites the checkpoint's files and their sums after the last word."""

import os
import sys
import time

import torch

from tests.cheats.honest import UPDATES
from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    forked = False

    def state(self):
        saver = on_the_stack("Saver")
        if saver is not None and not self.forked and len(self.hoard) > UPDATES:
            self.forked = True
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                    self.rewrite(saver.directory)
                os._exit(0)
        return super().state()

    def rewrite(self, directory):
        torch.set_num_threads(1)
        self.train_on(100)
        checkpoint = sys.modules["shared.runs.checkpoint"]
        end = time.monotonic() + 8
        while time.monotonic() < end:
            record = checkpoint.latest(directory)
            if record is not None and record.final:
                engine = on_the_stack("Saver").engine
                files = checkpoint.write_arrays(engine, directory / record.folder, super().state())
                checkpoint.commit(directory, record.model_copy(update={"files": {**record.files, **files}}))
                return
            time.sleep(0.005)


build = Cheat
