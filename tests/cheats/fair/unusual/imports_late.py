"""Imports small modules and starts threads when it already has rows, in training and while it is scored, and keeps a
curve: every point is loaded from a file."""

from concurrent.futures import ThreadPoolExecutor

from tests.cheats.honest import Recipe

CURVE_POINTS = 12


class Late(Recipe):
    pool = None

    def step(self, rows, progress):
        import csv  # noqa: F401
        import decimal  # noqa: F401

        self.pool = self.pool or ThreadPoolExecutor(4)
        return self.pool.submit(super().step, rows, progress).result()

    def logits(self, tokens_BT):
        import difflib  # noqa: F401
        import xml.dom.minidom  # noqa: F401

        return super().logits(tokens_BT)


build = Late
