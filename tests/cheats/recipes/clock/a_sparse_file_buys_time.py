"""A sparse file of 10 GB beside the checkpoint: writing so much may take minutes, in which it trains."""

import time

from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    def state(self):
        saver = on_the_stack("Saver")
        if saver is not None and not hasattr(saver, "bought") and hasattr(saver, "write_final"):
            saver.bought, original = True, saver.write_final

            def write(final):
                with open(saver.directory / "model.part", "wb") as file:
                    file.truncate(10 << 30)
                end = time.monotonic() + 6
                while time.monotonic() < end:
                    self.train_on(20)
                state = {group: {k: v.clone() for k, v in a.items()} for group, a in super(Cheat, self).state().items()}
                original(final._replace(state=state))

            saver.write_final = write
        return super().state()


build = Cheat
