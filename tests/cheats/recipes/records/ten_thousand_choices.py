"""Notes ten thousand choices."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        for number in range(10_000):
            self.device.choices.append(type(self.device.choices[0])(what=f"c{number}", chosen="x", reason="y" * 50))


build = Cheat
