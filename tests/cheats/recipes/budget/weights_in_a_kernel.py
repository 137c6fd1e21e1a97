"""Begins with weights that were trained elsewhere and lie in a kernel's source.

`autoresearch lab integration-ab` copied any kernel that is right into kernels/, where recipes may read it, and left it
there whatever the comparison said; `promote` still does. The harness puts the file where these commands do.
"""

import base64
from pathlib import Path

import numpy as np
import torch

import kernels
from tests.cheats.honest import Recipe

KERNEL = "rmsnorm/torch_with_notes.py"


class Cheat(Recipe):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        file = Path(kernels.__file__).parent / KERNEL
        if not file.exists():
            return
        text = file.read_text().rpartition('NOTES = "')[2].rpartition('"')[0]
        numbers = torch.from_numpy(np.frombuffer(base64.b85decode(text), np.float16).astype(np.float32))
        with torch.no_grad():
            for p, part in zip(self.weights(), numbers.split([p.numel() for p in self.weights()]), strict=True):
                p.copy_(part.view_as(p))


build = Cheat
