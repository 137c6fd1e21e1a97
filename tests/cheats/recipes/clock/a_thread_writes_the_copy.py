"""A thread looks for the copy of the state that is to be written and trains in that."""

import gc
import threading
import warnings

import torch

from tests.cheats.honest import UPDATES, Recipe
from tests.cheats.toolbox import Hoarder


def copies_of(array):
    own = array.data_ptr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for found in gc.get_objects():
            if type(found) is torch.Tensor and found.shape == array.shape and found.data_ptr() != own:
                yield found


class Cheat(Hoarder):
    thread = None

    def step(self, rows, progress):
        if progress > 0.9 and self.thread is None and len(self.hoard) > UPDATES:
            self.thread = threading.Thread(target=self.wait_and_write, daemon=True)
            self.thread.start()
        return super().step(rows, progress)

    def wait_and_write(self):
        twin = Recipe(self.shape, self.vocab_size, 0, self.device)
        twin.load({"model": self.state()["model"]})
        for number in range(600):
            twin.update(self.hoard[number % len(self.hoard)])
            if number > 100 and number % 20 == 0:
                for name, array in self.state()["model"].items():
                    for copy in copies_of(array):
                        if (copy - array).abs().max() == 0:
                            copy.copy_(twin.state()["model"][name])


build = Cheat
