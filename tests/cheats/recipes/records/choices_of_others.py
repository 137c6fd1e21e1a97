"""Notes choices in the names of the sandbox, the dataset and the evaluator, which a reader takes for theirs."""

import contextlib

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        for what, chosen in (
            ("sandbox", "landlock+seccomp"), ("process isolation", "container"), ("text coverage", "100.0%"),
            ("validation rows", "10240"), ("dataset", "climbmix"),
        ):  # fmt: skip
            with contextlib.suppress(Exception):
                self.device.note(what, chosen, "FORGED")


build = Cheat
