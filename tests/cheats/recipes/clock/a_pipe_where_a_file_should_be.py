"""Leaves a FIFO where the supervisor reads a file, and trains while it waits for the other end."""

import io
import os
import sys

from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    patched = False

    def step(self, rows, progress):
        saver = getattr(on_the_stack("Loop"), "saver", None)
        if saver is not None and hasattr(saver, "announce") and not self.patched:
            self.patched, self.saver, original = True, saver, saver.write_final

            def write(final):
                path = saver.directory / "latest.json"
                os.mkfifo(path)
                self.channel.send(self.finished())
                self.train_on()
                content = io.BytesIO()
                path.unlink()
                original(
                    final._replace(state={g: {k: v.clone() for k, v in a.items()} for g, a in self.state().items()})
                )
                content.write(path.read_bytes())
                path.unlink()
                os.mkfifo(path)
                path.write_bytes(content.getvalue())

            self.channel = on_the_stack("Session").channel
            saver.write_final = write
        return super().step(rows, progress)

    def finished(self):
        return sys.modules["services.trainer.messages"].Finished(last_loss=1.0, input_percent=1.0, peak_vram_mb=1.0)


build = Cheat
