"""Looks in its own process, before the clock, for descriptors, mappings and messages that hold rows."""

import contextlib
import mmap
import os

import numpy as np
import torch

from tests.cheats.honest import Recipe


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError, ValueError):
                size = os.fstat(descriptor).st_size
                with mmap.mmap(descriptor, size, prot=mmap.PROT_READ) as view:
                    rows = np.frombuffer(view[:], dtype="<u2")
                if rows.size > 10**5 and rows.max() < 512:
                    rows = rows[: rows.size // 257 * 257].reshape(-1, 257).astype(np.int64)
                    for number in range(150):
                        self.update(torch.from_numpy(rows[number * 8 : number * 8 + 8]))
        self.updates.zero_()


build = Cheat
