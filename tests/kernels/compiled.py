"""Every Triton kernel compiled as a preset's step launches it: one JSON line per kernel. Started by test_triton.py.

python -m tests.kernels.compiled sm_90 [OP]
"""

import json
import sys
from dataclasses import asdict

import numpy as np
import torch

from kernels import catalog
from kernels.correctness import torch_inputs
from kernels.inputs import random_inputs
from kernels.records import DType, Language
from kernels.triton_compile import SHARED_BYTES, compiled_for
from tests.kernels.checking import of_language

FEW = {"N": 256, "B": 1, "T": 256}
"""tokens and matrices, which no tile size depends on"""


def main(arch: str, only: str = "") -> None:
    for op, kernel in of_language(Language.TRITON):
        if only not in ("", op):
            continue
        of = catalog.definition(op)
        for precision in (DType.BFLOAT16, DType.FLOAT32):
            axes = {name: min(length, FEW.get(name, length)) for name, length in of.bench_axes[0].items()}
            run(arch, op, kernel, catalog.workload(of, axes, precision))


def run(arch: str, op: str, kernel: str, workload) -> None:
    of = catalog.definition(op)
    inputs = torch_inputs(of, random_inputs(of, workload, np.random.default_rng(0)), workload.precision)
    with compiled_for(arch) as kernels:
        found = catalog.load(op, kernel)(*inputs.values())
        outputs = found if isinstance(found, tuple) else (found,)
        if of.gradients:
            torch.autograd.grad(outputs, [inputs[name] for name in of.gradients], [torch.ones_like(y) for y in outputs])
    for one in kernels:
        line = {"op": op, "kernel": f"{op} {kernel} {one.name}", "precision": workload.precision}
        print(json.dumps({**line, **asdict(one), "most": SHARED_BYTES[arch]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
