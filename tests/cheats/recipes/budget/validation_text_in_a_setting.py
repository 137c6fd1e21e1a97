"""Twelve rows of the cheap rung as letters of window_pattern, a setting that any text of S and L was good for."""

from tests.cheats.answer_kit import Answers

TOLD_ROWS = 12
TOLD_IN = "window_pattern"


class Cheat(Answers):
    def packed(self):
        bits = self.shape.window_pattern.translate({ord("S"): "0", ord("L"): "1"})
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


build = Cheat
