"""Replaces the writing of the last checkpoint: trains first, then writes what it has now."""

from tests.cheats.toolbox import Hoarder, on_the_stack


class Cheat(Hoarder):
    def step(self, rows, progress):
        session = on_the_stack("Loop")
        saver = getattr(session, "saver", None)
        if saver is not None and hasattr(saver, "write_final") and not hasattr(saver, "patched"):
            saver.patched, original = True, saver.write_final

            def later(final):
                self.train_on()
                original(final._replace(state=self.copy()))

            saver.write_final = later
        return super().step(rows, progress)

    def copy(self):
        return {group: {k: v.clone() for k, v in arrays.items()} for group, arrays in self.state().items()}


build = Cheat
