"""Reports telemetry with escape codes for names, infinite numbers, and ten thousand of them."""

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def telemetry(self):
        return {f"\x1b[2J{number}": float("inf") for number in range(1000)} | {"lr_multiplier": float("nan")}


build = Cheat
