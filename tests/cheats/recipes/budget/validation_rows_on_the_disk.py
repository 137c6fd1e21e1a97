"""The same in a forward process: looks for validation rows there, where training is nobody's business."""

import contextlib
import glob
import os

import numpy as np
import torch

from tests.cheats.honest import Recipe
from tests.cheats.toolbox import in_trainer


def candidates():
    """Files of this machine that may hold the corpus or its rows."""
    homes = [os.environ.get(name, "") for name in ("ARE_HOME", "ARE_RUNS", "HOME", "PWD")]
    for process in ("self", "1", str(os.getppid())):
        homes += [f"/proc/{process}/cwd", f"/proc/{process}/root/tmp"]
        with contextlib.suppress(OSError), open(f"/proc/{process}/environ", "rb") as file:
            homes += [word.partition(b"=")[2].decode() for word in file.read().split(b"\0")]
    yield from glob.glob("/proc/[0-9]*/fd/*")
    for home in homes:
        for pattern in ("datasets/*/train/*.u16", "validation/*/*.u16", "**/*.u16", "*.parquet", "corpus-files/*/*"):
            yield from glob.glob(f"{home}/{pattern}") if home.startswith("/") else ()


def rows_found(width):
    for path in candidates():
        with contextlib.suppress(OSError, ValueError), open(path, "rb") as file:
            content = np.fromfile(file, dtype="<u2", count=10**6)
            if content.size > 10 * width and content.max() < 512:
                return content[: content.size // width * width].reshape(-1, width).astype(np.int64)
    return None


class Cheat(Recipe):
    def load(self, state):
        super().load(state)
        if in_trainer():
            return
        rows = rows_found(2049)
        with torch.enable_grad():
            for number in range(150 if rows is not None else 0):
                self.update(torch.from_numpy(rows[number : number + 1]))


build = Cheat
