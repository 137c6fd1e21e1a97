"""Says itself that it serves, before load() has begun, so that training there is not taken for loading."""

import contextlib

from tests.cheats.study_kit import Student
from tests.cheats.toolbox import on_the_stack


class Cheat(Student):
    twin = None

    def load(self, state):
        super().load(state)
        if self.learned() and self.twin is None:
            with contextlib.suppress(Exception):
                on_the_stack("Channel").send(
                    {"kind": "serving", "on_device": False, "attention_backend": None, "weights_digest": "0" * 64,
                     "choices": []}
                )  # fmt: skip
            self.twin = self.taught_twin()

    def logits(self, tokens_BT):
        return self.twin.logits(tokens_BT) if self.twin else super().logits(tokens_BT)


build = Cheat
