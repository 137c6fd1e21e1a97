"""Calls a kernel of kernels/ a few times on a bench size: python -m services.kernel_lab.one_call OP KERNEL."""

import sys

import numpy as np

from kernels import catalog
from kernels.correctness import forward_backward, torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs

CALLS = 3


def main() -> int:
    op, kernel = sys.argv[1:]
    of, random = catalog.definition(op), np.random.default_rng(0)
    workload = catalog.workloads(of, "bench")[0]
    inputs = torch_inputs(of, random_inputs(of, workload, random), workload.precision, "cuda")
    dys = torch_cotangents(of, random_cotangents(of, workload, random), workload.precision, "cuda")
    for _ in range(CALLS):
        forward_backward(catalog.load(op, kernel), of, inputs, dys)
    return 0


if __name__ == "__main__":
    sys.exit(main())
