"""Steps on a thread of its own, and leaves the pool running."""

from concurrent.futures import ThreadPoolExecutor

from tests.cheats.honest import Recipe


class Unusual(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.pool = ThreadPoolExecutor(2)

    def step(self, rows, progress):
        return self.pool.submit(super().step, rows, progress).result()


build = Unusual
